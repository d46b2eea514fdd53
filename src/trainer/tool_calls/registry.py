"""The known formats by name. A format has the name of the vLLM parser that reads it, if there is one."""

from dataclasses import replace

from trainer.errors import FormatError
from trainer.tool_calls.base import ToolCallFormat
from trainer.tool_calls.formats.gemma import FUNCTION_GEMMA, GEMMA4
from trainer.tool_calls.formats.harmony import OPENAI
from trainer.tool_calls.formats.invocations import (
    DEEPSEEK_V4,
    DEEPSEEK_V32,
    DEEPSEEK_V41,
    DOTS,
    GLM45,
    MIMO,
    MINIMAX_M2,
    MUSE_GLIMMER,
    QWEN3_XML,
    SEED_OSS,
    STEP3,
)
from trainer.tool_calls.formats.json_blocks import DEEPSEEK_V3, DEEPSEEK_V31, HERMES, MISTRAL_V11
from trainer.tool_calls.formats.json_lists import GRANITE, LLAMA3, MISTRAL, PHI4_MINI, XLAM
from trainer.tool_calls.formats.json_objects import INTERNLM, KIMI_K2, LONGCAT
from trainer.tool_calls.formats.marked_lists import APERTUS, COHERE_COMMAND, HUNYUAN_A13B
from trainer.tool_calls.formats.olmo import OLMO3
from trainer.tool_calls.formats.pythonic import LFM2, PYTHONIC

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
        DEEPSEEK_V32,
        DEEPSEEK_V4,
        DEEPSEEK_V41,
        OPENAI,
        GLM45,
        LFM2,
        MUSE_GLIMMER,
        KIMI_K2,
        MINIMAX_M2,
        DOTS,
        SEED_OSS,
        STEP3,
        OLMO3,
        HUNYUAN_A13B,
        INTERNLM,
        LONGCAT,
        COHERE_COMMAND,
        APERTUS,
    )
}
# Names of vLLM parsers for text that another format reads as well. Detection finds that other format.
_ALIASES = {
    name: replace(fmt, name=name, vllm_parser=name)
    for fmt, names in (
        (HERMES, ("granite4", "qwen3_json")),
        (replace(HERMES, wrappers=("<response>", "</response>")), ("ernie45",)),
        (QWEN3_XML, ("qwen3_coder", "step3p5")),
        (MIMO, ("mimo",)),
        (GLM45, ("glm47", "ling3", "poolside_v1")),
        (LLAMA3, ("llama4_json",)),
        (PYTHONIC, ("llama4_pythonic",)),
        (HUNYUAN_A13B, ("jamba",)),
        (COHERE_COMMAND, ("cohere_command3", "cohere_command4")),
    )
    for name in names
}


def register_format(fmt: ToolCallFormat) -> None:
    """Add your own format to `eval.tool_call_format` and to detection. Raises FormatError if its name is taken."""
    if fmt.name in _FORMATS or fmt.name in _ALIASES:
        raise FormatError(f'tool-call format "{fmt.name}" is already registered; give yours another name')
    _FORMATS[fmt.name] = fmt


def formats() -> tuple[str, ...]:
    """Return the names of all formats, without `aliases`."""
    return tuple(_FORMATS)


def aliases() -> tuple[str, ...]:
    """Return the other names that `get_format` takes. Each has a vLLM parser of its own, which serving then uses."""
    return tuple(_ALIASES)


def get_format(name: str) -> ToolCallFormat:
    """Return the format called `name`. Raises FormatError with the known names if there is no such format."""
    known = {**_FORMATS, **_ALIASES}
    if name not in known:
        raise FormatError(f'unknown tool-call format "{name}"; known: {", ".join(known)}')
    return known[name]
