"""Write the file for vLLM's `--tool-parser-plugin`: it finds this package and registers the run's format.

vLLM may run in another environment, without this project. So the file names the package's place and loads it from
there, without putting a whole environment on vLLM's search path. Imports nothing of vLLM.
"""

import trainer
from trainer.serving.vllm_parser.own_formats import home_of
from trainer.tool_calls import ToolCallFormat
from trainer.vllm_flags import parser_name

_TITLE = "# Reads the tool calls of this run in vLLM, as training does. Written by `tool-sft serve`.\n\n"

_LOAD_TRAINER = """import importlib.util
import sys
from pathlib import Path

TRAINER = {trainer!r}

if "trainer" not in sys.modules and Path(TRAINER).is_file():  # else an installed one is used
    spec = importlib.util.spec_from_file_location("trainer", TRAINER)
    sys.modules["trainer"] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(sys.modules["trainer"])
"""

_REGISTER = """
try:
    from trainer.serving.vllm_parser.plugin import register_parser
except ImportError as error:
    raise ImportError(
        f"the tool-call reader of tool-sft cannot be loaded ({{error}}). Install llm-tool-call-sft in this environment "
        "with pip install --no-deps, or serve with tool-sft serve --vllm-parser."
    ) from error

register_parser({name!r}, {format_name!r}, {home!r})
"""


def plugin_source(fmt: ToolCallFormat) -> str:
    """Return the text of the file. Raises `FormatError` for a format that no other process can import."""
    home = home_of(fmt)
    call = _REGISTER.format(
        name=parser_name(fmt.name), format_name=fmt.name, home=None if home is None else tuple(home)
    )
    return f"{_TITLE}{loader()}{call}"


def loader() -> str:
    """Return Python code that makes this package importable in another environment."""
    return _LOAD_TRAINER.format(trainer=trainer.__file__)
