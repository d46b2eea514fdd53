"""Tools as every chat template receives them: with the keys, the order and the nulls of vLLM's server.

vLLM reads a request's tools into a schema of its own and renders what that writes out (`FunctionDefinition`, vLLM
0.32): name, description and parameters in this order, null if one is missing, `strict` if it is set, and nothing
else. A template that writes `tool | tojson` shows all of that, so training renders the same.
"""

import hashlib
import json
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from trainer.errors import DataError
from trainer.types import Tool
from trainer.values.places import HALF_CHARACTER, half_character

_FUNCTION_KEYS = ("name", "description", "parameters", "strict")


class RenderedTool(NamedTuple):
    """A tool as templates receive it, and the names of the keys that no server shows to the model."""

    tool: Tool
    dropped: tuple[str, ...]


def rendered_tool(tool: Any, *, where: str) -> RenderedTool:
    """A tool in the form that a server renders. Raises `DataError`, beginning with `where`."""
    function = tool.get("function") if isinstance(tool, Mapping) else None
    if not isinstance(function, Mapping) or not isinstance(function.get("name"), str):
        raise DataError(
            f'{where}: must look like {{"type": "function", "function": {{"name": ..., "parameters": ...}}}}'
        )
    name, kind = function["name"], tool.get("type", "function")
    if not name.strip():
        raise DataError(f"{where}: function.name is empty; give the tool a name")
    if kind != "function":
        raise DataError(f'{where} ({name}): type is {kind!r:.80}; must be "function"')
    kinds: tuple[tuple[str, type, str], ...] = (
        ("description", str, "a string"),
        ("parameters", Mapping, "a JSON Schema object"),
        ("strict", bool, "true or false"),
    )
    for key, wanted, said in kinds:
        value = function.get(key)
        if value is not None and not isinstance(value, wanted):
            raise DataError(f"{where} ({name}): {key} is {value!r:.80}; must be {said}, or left out")
    shown = {key: function.get(key) for key in _FUNCTION_KEYS}
    if (half := half_character(shown)) is not None:
        raise DataError(f"{where} ({name}): {half} is {HALF_CHARACTER}")
    if shown["strict"] is None:
        del shown["strict"]
    dropped = [f"function.{key}" for key in function if key not in _FUNCTION_KEYS]
    dropped += [key for key in tool if key not in ("type", "function")]
    return RenderedTool({"type": "function", "function": shown}, tuple(sorted(dropped)))


def wire_tool(tool: Tool) -> dict[str, Any]:
    """The same tool as requests carry it: missing fields are left out, because not every server accepts null."""
    return {**tool, "function": {key: value for key, value in tool["function"].items() if value is not None}}


def tool_hash(tool: Tool) -> str:
    """Twelve hexadecimal digits that identify a tool's name, description and schema.

    The order of keys counts, because a model sees it.
    """
    return hashlib.sha256(json.dumps(tool, separators=(",", ":")).encode()).hexdigest()[:12]


def unique_tools(tools: Iterable[Tool]) -> tuple[Tool, ...]:
    """Every tool once, in the order of first occurrence. Tools of one name with different schemas are different."""
    return tuple({tool_hash(tool): tool for tool in tools}.values())
