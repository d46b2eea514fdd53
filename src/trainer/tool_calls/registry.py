"""The known formats by name. A format has the name of the vLLM parser that reads it, if there is one."""

from collections.abc import Mapping
from dataclasses import replace

from trainer.errors import FormatError
from trainer.tool_calls.base import ToolCallFormat
from trainer.tool_calls.formats.elements import (
    DEEPSEEK_V4,
    DEEPSEEK_V32,
    DEEPSEEK_V41,
    DOTS,
    MINIMAX_M2,
    SEED_OSS,
    STEP3,
)
from trainer.tool_calls.formats.gemma import FUNCTION_GEMMA, GEMMA4
from trainer.tool_calls.formats.harmony import OPENAI
from trainer.tool_calls.formats.json_blocks import DEEPSEEK_V3, DEEPSEEK_V31, HERMES, MISTRAL_V11
from trainer.tool_calls.formats.json_lists import GRANITE, LLAMA3, MISTRAL, PHI4_MINI, XLAM
from trainer.tool_calls.formats.json_objects import INTERNLM, KIMI_K2, LONGCAT
from trainer.tool_calls.formats.marked_lists import APERTUS, COHERE_COMMAND, HUNYUAN_A13B
from trainer.tool_calls.formats.olmo import OLMO3
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
# The same text under the name of another family's parser. Detection reports the name on the right.
_SAME_TEXT = {
    "ernie45": "hermes",
    "granite4": "hermes",
    "qwen3_json": "hermes",
    "qwen3_coder": "qwen3_xml",
    "step3p5": "qwen3_xml",
    "mimo": "qwen3_xml",
    "glm47": "glm45",
    "poolside_v1": "glm45",
    "ling3": "glm45",
    "llama4_json": "llama3_json",
    "llama4_pythonic": "pythonic",
    "jamba": "hunyuan_a13b",
    "cohere_command3": "cohere_command",
    "cohere_command4": "cohere_command",
}


def register_format(fmt: ToolCallFormat) -> None:
    """Add your own format to `eval.tool_call_format` and to detection. Raises FormatError if its name is taken."""
    if fmt.name in _FORMATS or fmt.name in _SAME_TEXT:
        raise FormatError(f'tool-call format "{fmt.name}" is already registered; give yours another name')
    _FORMATS[fmt.name] = fmt


def formats() -> tuple[str, ...]:
    """Return the names of all formats, each once: without `aliases`."""
    return tuple(_FORMATS)


def aliases() -> Mapping[str, str]:
    """Return the other names that `get_format` takes, with the format that they read."""
    return dict(_SAME_TEXT)


def get_format(name: str) -> ToolCallFormat:
    """Return the format called `name`. Raises FormatError with the known names if there is no such format.

    An alias is the same format with its own name and vLLM parser.
    """
    if name in _SAME_TEXT:
        return replace(_FORMATS[_SAME_TEXT[name]], name=name, vllm_parser=name)
    if name not in _FORMATS:
        raise FormatError(f'unknown tool-call format "{name}"; known: {", ".join((*_FORMATS, *_SAME_TEXT))}')
    return _FORMATS[name]
