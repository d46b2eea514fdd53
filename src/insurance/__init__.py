"""A second example domain: an insurance company, with nested arguments and lists. Began as `tool-sft new-domain`."""

from .data_prep import build_datasets, open_rows, read_turns, system_prompt_now
from .executor import make_tool_executor

__all__ = ["build_datasets", "make_tool_executor", "open_rows", "read_turns", "system_prompt_now"]
