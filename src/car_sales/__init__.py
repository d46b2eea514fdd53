"""The example domain: a car dealership. `tool-sft new-domain NAME` writes a smaller one to start from."""

from .data_prep import build_datasets, open_rows, read_turns, system_prompt_now, tokenize_with_role_spans
from .executor import make_tool_executor

__all__ = [
    "build_datasets",
    "make_tool_executor",
    "open_rows",
    "read_turns",
    "system_prompt_now",
    "tokenize_with_role_spans",
]
