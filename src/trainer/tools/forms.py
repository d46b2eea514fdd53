"""Read the tools of a row, in any form that public data uses, as tools in OpenAI form. Judges no schema."""

from collections import Counter
from collections.abc import Mapping
from typing import Any, NamedTuple

from trainer.tools.arrow_nulls import clean_schema
from trainer.tools.flat_types import flat_parameters, is_flat, standard_types
from trainer.types import Tool
from trainer.values.places import decoded, described, fail, names, take_object

_SCHEMA_KEYS = ("parameters", "input_schema", "inputSchema")


class ReadTools(NamedTuple):
    """A row's tools in OpenAI form, and what was converted."""

    tools: tuple[Tool, ...]
    converted: tuple[str, ...] = ()


def tools_of(value: Any, where: str, *, from_text: bool = False) -> ReadTools:
    """The tools of a list, of one tool, or of the JSON text of either. `from_text` marks a value that was JSON text.

    A tool is in OpenAI form, a bare function, Anthropic's (`input_schema`), MCP's (`inputSchema`) or xLAM's with a
    flat list of arguments. Null and blank text are no tools.
    """
    notes: list[str] = []
    if isinstance(value, str):
        if not value.strip():
            return ReadTools(())
        value, from_text = decoded(value, where, "the list of tools"), True
        notes.append("tools written as JSON text")
    if isinstance(value, Mapping) and isinstance(value.get("tools"), list | tuple):
        value = value["tools"]
    if value is None:
        return ReadTools(())
    items = [value] if isinstance(value, Mapping) else value
    if not isinstance(items, list | tuple):
        fail(where, f"the tools are {described(value)}; they must be a list")
    tools = []
    for index, item in enumerate(items):
        tools.append(read_tool(item, f"{where}, tool {index}", notes, from_text=from_text))
    repeated = [name for name, n in Counter(tool["function"]["name"] for tool in tools).items() if n > 1]
    if repeated:
        fail(where, f"two tools have the name {names(repeated[:1])}; rename or remove one of them")
    return ReadTools(tuple(tools), tuple(notes))


def read_tool(item: Any, where: str, notes: list[str], *, from_text: bool) -> Tool:
    """One tool in OpenAI form; `notes` receives what was converted. Raises `DataError`."""
    if isinstance(item, str):
        item, from_text = decoded(item, where, "the tool"), True
        notes.append("tools written as JSON text")
    tool = take_object(item, where, "the tool")
    function, outside = tool, {}
    if tool.get("function") is not None:
        function = take_object(tool["function"], where, "function")
        outside = {key: value for key, value in tool.items() if key not in ("type", "function") and value is not None}
    kind = tool.get("type")
    if kind not in (None, "function", "custom") or (kind == "custom" and "input_schema" not in tool):
        fail(where, f'type is {described(kind)}; allowed: "function"')
    name = function.get("name")
    if not isinstance(name, str) or not name.strip():
        fail(where, f"the tool's name is {described(name)}; give it one")
    where = f"{where} ({name:.60})"
    read: dict[str, Any] = {"name": name}
    if function.get("description") is not None:
        read["description"] = function["description"]
        if not isinstance(read["description"], str):
            fail(where, f"description is {described(read['description'])}; it must be text")
    read |= _parameters(function, where, notes, from_text=from_text)
    known = {"type", "name", "description", "cache_control", *_SCHEMA_KEYS}
    read |= {key: value for key, value in function.items() if key not in known and value is not None}
    return {**outside, "type": "function", "function": read}


def _parameters(function: Mapping[str, Any], where: str, notes: list[str], *, from_text: bool) -> dict[str, Any]:
    given = [key for key in _SCHEMA_KEYS if function.get(key) is not None]
    if len(given) > 1:
        fail(where, f"the tool has both {' and '.join(given)}; keep one")
    if not given:
        return {}
    schema = function[given[0]]
    if isinstance(schema, str):
        schema, from_text = decoded(schema, where, given[0]), True
    if not isinstance(schema, Mapping):
        fail(where, f"{given[0]} are {described(schema)}; they must be a JSON Schema object")
    if given[0] != "parameters":
        notes.append(f"{given[0]} read as parameters")
    if not from_text:
        schema = clean_schema(schema)
    if is_flat(schema):
        notes.append("flat parameters read as JSON Schema")
        return {"parameters": flat_parameters(schema, where)}
    standard = standard_types(schema)
    if standard != schema:
        notes.append("Python types read as JSON Schema types")
    return {"parameters": standard}
