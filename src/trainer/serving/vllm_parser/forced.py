"""Read answers that vLLM has constrained to JSON because the request forces a call. Imports nothing of vLLM."""

from typing import Any, NamedTuple

from trainer.tool_calls.served import ServedCall
from trainer.values.json_reader import read_json, skip_space, to_json


class ForcedTool(NamedTuple):
    """What a request forces: a tool by name, or any tool (None)."""

    name: str | None


def forced_tool(tool_choice: Any) -> ForcedTool | None:
    """Return what a request's `tool_choice` forces, or None if the model may choose."""
    if tool_choice is None or isinstance(tool_choice, str):
        return ForcedTool(None) if tool_choice == "required" else None
    function = getattr(tool_choice, "function", tool_choice)  # of a chat completion, or of the Responses API
    return ForcedTool(function.name)


def forced_calls(text: str, tool: ForcedTool) -> list[ServedCall]:
    """Return the calls of a constrained answer: a list of names and parameters, or the arguments of the named tool.

    An answer that the token limit cut is one call without a name, with the text as arguments.
    """
    if not text.strip():
        return []
    if tool.name is not None:
        return [ServedCall(tool.name, text)]
    read = read_json(text, 0)
    items = read.value if read.failure is None and skip_space(text, read.end) == len(text) else None
    if not isinstance(items, list) or not all(_is_call(item) for item in items):
        return [ServedCall("", text)]
    return [ServedCall(item["name"], to_json(item.get("parameters") or {})) for item in items]


def _is_call(item: Any) -> bool:
    return (
        isinstance(item, dict) and isinstance(item.get("name"), str) and isinstance(item.get("parameters") or {}, dict)
    )
