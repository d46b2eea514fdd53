"""Tools of every public form become tools in OpenAI form."""

import json
from typing import Any

import pytest

from trainer.errors import DataError
from trainer.tools.flat_types import flat_parameters, is_flat, standard_types
from trainer.tools.forms import tools_of

SCHEMA = {"type": "object", "properties": {"a": {"type": "integer"}}}
WHOLE = {"type": "function", "function": {"name": "f", "description": "F", "parameters": SCHEMA}}


@pytest.mark.parametrize(
    "form",
    [
        WHOLE,
        {"name": "f", "description": "F", "parameters": SCHEMA},
        {"type": "function", "name": "f", "description": "F", "parameters": SCHEMA},
        {"name": "f", "description": "F", "input_schema": SCHEMA, "cache_control": None},
        {"type": "custom", "name": "f", "description": "F", "input_schema": SCHEMA},
        {"name": "f", "description": "F", "inputSchema": SCHEMA},
        {"name": "f", "description": "F", "parameters": json.dumps(SCHEMA)},
        {"name": "f", "description": "F", "parameters": {"type": "dict", "properties": {"a": {"type": "int"}}}},
    ],
)
@pytest.mark.parametrize("wrap", [lambda form: [form], lambda form: json.dumps([form]), lambda form: {"tools": [form]}])
def test_a_tool_of_any_form_is_read(form: Any, wrap: Any) -> None:
    assert tools_of(wrap(form), "tools").tools == (WHOLE,)


@pytest.mark.parametrize("nothing", [None, "", "  ", [], "[]"])
def test_no_tools_at_all_are_an_empty_list(nothing: Any) -> None:
    assert tools_of(nothing, "tools").tools == ()


def test_nulls_go_from_a_struct_and_stay_in_json_text() -> None:
    schema = {"type": "object", "properties": {"a": {"type": "integer", "default": None}, "b": None}}
    from_struct, from_text = tools_of([{"name": "f", "parameters": schema}], "tools"), tools_of(
        json.dumps([{"name": "f", "parameters": {"properties": {"a": {"default": None}}}}]), "tools"
    )  # fmt: skip
    assert from_struct.tools[0]["function"]["parameters"] == SCHEMA
    assert from_text.tools[0]["function"]["parameters"] == {"properties": {"a": {"default": None}}}


@pytest.mark.parametrize(
    ("word", "schema"),
    [
        ("str", {"type": "string"}),
        ("int", {"type": "integer"}),
        ("float", {"type": "number"}),
        ("bool", {"type": "boolean"}),
        ("dict", {"type": "object"}),
        ("Dict[str, Any]", {"type": "object"}),
        ("Dict[str, int]", {"type": "object", "additionalProperties": {"type": "integer"}}),
        ("list", {"type": "array"}),
        ("List[str]", {"type": "array", "items": {"type": "string"}}),
        ("List[List[float]]", {"type": "array", "items": {"type": "array", "items": {"type": "number"}}}),
        ("Tuple[int, str]", {"type": "array", "items": {"anyOf": [{"type": "integer"}, {"type": "string"}]}}),
        ("Tuple[int, ...]", {"type": "array", "items": {"type": "integer"}}),
        ("Optional[int]", {"type": "integer"}),
        ("Union[int, str]", {"anyOf": [{"type": "integer"}, {"type": "string"}]}),
        ("Any", {}),
        ("string", {"type": "string"}),
    ],
)
def test_a_python_type_becomes_its_schema(word: str, schema: dict[str, Any]) -> None:
    assert flat_parameters({"a": {"type": word}}, "")["properties"]["a"] == schema
    optional = flat_parameters({"a": {"type": f"{word}, optional"}}, "")
    assert optional["properties"]["a"] == schema
    assert "required" not in optional


@pytest.mark.parametrize(
    "word", ["", "frozen", "List[", "List[str", "List[str]]", "int[str]", "Union[]", "str" + " " * 500 + ", optional"]
)
def test_an_unknown_type_is_refused_with_its_parameter(word: str) -> None:
    with pytest.raises(DataError, match='parameter "a": type is'):
        flat_parameters({"a": {"type": word or " [ "}}, "f")


@pytest.mark.parametrize(
    ("kind", "default", "read"),
    [
        ("int", "5", 5),
        ("int", "", None),
        ("bool", "False", False),
        ("str", "5", "5"),
        ("str", "", ""),
        ("int", "x", "x"),
    ],
)
def test_a_default_has_the_type_of_its_argument(kind: str, default: str, read: Any) -> None:
    argument = flat_parameters({"a": {"type": kind, "default": default}}, "")
    assert argument["properties"]["a"].get("default") == read
    assert "required" not in argument


def test_flat_parameters_and_schemas_are_told_apart() -> None:
    assert is_flat({"type": {"type": "str"}, "properties": {"type": "int"}})
    assert not is_flat(SCHEMA)
    assert not is_flat({"properties": {"a": {"type": "integer"}}})
    assert not is_flat({})


def test_type_words_change_only_where_a_type_stands() -> None:
    schema = {"type": "dict", "properties": {"type": {"type": "float", "enum": ["dict"], "default": "str"}}}
    assert standard_types(schema) == {
        "type": "object",
        "properties": {"type": {"type": "number", "enum": ["dict"], "default": "str"}},
    }
