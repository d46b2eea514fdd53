"""The known formats by name. A format has the name of the vLLM parser that reads it, if there is one."""

from trainer.errors import FormatError
from trainer.tool_calls.base import ToolCallFormat
from trainer.tool_calls.formats.gemma import FUNCTION_GEMMA, GEMMA4
from trainer.tool_calls.formats.harmony import OPENAI
from trainer.tool_calls.formats.json_blocks import DEEPSEEK_V3, DEEPSEEK_V31, HERMES, MISTRAL_V11
from trainer.tool_calls.formats.json_lists import GRANITE, LLAMA3, MISTRAL, PHI4_MINI, XLAM
from trainer.tool_calls.formats.pythonic import LFM2, PYTHONIC
from trainer.tool_calls.formats.tagged import GLM45, MUSE_GLIMMER, QWEN3_XML

_FORMATS = {
    fmt.name: fmt
    for fmt in (
        HERMES,
        QWEN3_XML,
        LLAMA3,
        PYTHONIC,
        MISTRAL,
        MISTRAL_V11,
        XLAM,
        FUNCTION_GEMMA,
        GEMMA4,
        PHI4_MINI,
        GRANITE,
        DEEPSEEK_V3,
        DEEPSEEK_V31,
        OPENAI,
        GLM45,
        LFM2,
        MUSE_GLIMMER,
    )
}


def register_format(fmt: ToolCallFormat) -> None:
    """Add your own format to `eval.tool_call_format` and to detection. Raises FormatError if its name is taken."""
    if fmt.name in _FORMATS:
        raise FormatError(f'tool-call format "{fmt.name}" is already registered; give yours another name')
    _FORMATS[fmt.name] = fmt


def formats() -> tuple[str, ...]:
    """Return the names of all formats."""
    return tuple(_FORMATS)


def get_format(name: str) -> ToolCallFormat:
    """Return the format called `name`. Raises FormatError with the known names if there is no such format."""
    if name not in _FORMATS:
        raise FormatError(f'unknown tool-call format "{name}"; known: {", ".join(_FORMATS)}')
    return _FORMATS[name]
