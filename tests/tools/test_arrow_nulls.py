"""Nulls that a table format filled in vanish from arguments and schemas; those of the author stay."""

from typing import Any

import pyarrow as pa  # type: ignore[import-untyped]
import pytest

from tests.layouts.samples.canonical import TOOLS as TWO_TOOLS
from trainer.errors import DataError
from trainer.layouts import get_layout
from trainer.messages import with_tools
from trainer.tools.arrow_nulls import clean_schema, restore_arguments
from trainer.types import Call

SCHEMA = {
    "type": "object",
    "properties": {
        "city": {"type": "string"},
        "note": {"type": ["string", "null"]},
        "days": {"type": "integer"},
        "where": {"$ref": "#/$defs/place"},
        "stops": {"type": "array", "items": {"$ref": "#/$defs/place"}},
        "maybe": {"anyOf": [{"type": "integer"}, {"type": "null"}]},
        "kind": {"enum": ["a", None]},
        "either": {"enum": ["a", "b"]},
    },
    "required": ["city"],
    "$defs": {
        "place": {"type": "object", "properties": {"x": {"type": "number"}, "y": {"type": "number"}}, "required": ["x"]}
    },
}


def restored(schema: Any = SCHEMA, **arguments: Any) -> dict[str, Any]:
    return restore_arguments(Call("f", arguments), schema).arguments


def test_a_null_of_an_undeclared_argument_is_dropped() -> None:
    assert restored(city="Vis", route=None) == {"city": "Vis"}


def test_a_null_that_the_schema_does_not_allow_is_dropped() -> None:
    assert restored(city="Vis", days=None, either=None) == {"city": "Vis"}


def test_a_null_that_the_schema_allows_is_kept() -> None:
    given = {"city": "Vis", "note": None, "maybe": None, "kind": None}
    assert restored(**given) == given


def test_nested_structs_are_restored_through_references() -> None:
    found = restored(city="Vis", where={"x": 1, "y": None, "z": None}, stops=[{"x": 2, "q": None}])
    assert found == {"city": "Vis", "where": {"x": 1}, "stops": [{"x": 2}]}


@pytest.mark.parametrize(
    ("arguments", "words"),
    [({"city": None}, '"city" is null'), ({"city": "x", "where": {"x": None}}, 'call to "f", where: argument "x"')],
)
def test_a_null_for_a_required_argument_is_refused_by_name(arguments: dict[str, Any], words: str) -> None:
    with pytest.raises(DataError) as caught:
        restored(**arguments)
    assert words in str(caught.value)


def test_a_schema_loses_the_keywords_and_members_that_were_filled_in() -> None:
    filled = {
        "type": "object",
        "description": None,
        "properties": {
            "city": {"type": "string", "enum": None, "items": None, "default": None},
            "route": None,
            "kind": {"enum": ["a", None], "type": None},
            "stops": {"type": "array", "items": {"type": "string", "properties": None}},
        },
        "required": ["city"],
    }
    assert clean_schema(filled) == {
        "type": "object",
        "properties": {
            "city": {"type": "string"},
            "kind": {"enum": ["a", None]},
            "stops": {"type": "array", "items": {"type": "string"}},
        },
        "required": ["city"],
    }


def openai_row(arguments: Any, **columns: Any) -> dict[str, Any]:
    function = {"name": "f", "arguments": arguments}
    asked = {"role": "assistant", "tool_calls": [{"function": function}]}
    return {"messages": [{"role": "user", "content": "Hi"}, asked], **columns}


def arguments_of(conversation: Any) -> Any:
    return conversation.messages[1]["tool_calls"][0]["function"]["arguments"]


TOOLS = [{"type": "function", "function": {"name": "f", "parameters": SCHEMA}}]


def test_struct_arguments_of_a_row_are_restored_and_text_is_left_alone() -> None:
    layout = get_layout("openai")
    assert arguments_of(layout.read(openai_row({"city": "Vis", "days": None}, tools=TOOLS))) == {"city": "Vis"}
    as_text = openai_row('{"city": "Vis", "days": null}', tools=TOOLS)
    assert arguments_of(layout.read(as_text)) == {"city": "Vis", "days": None}


def test_a_row_without_tools_is_restored_when_it_gets_them() -> None:
    read = get_layout("openai").read(openai_row({"city": "Vis", "days": None}))
    assert arguments_of(read) == {"city": "Vis", "days": None}
    assert read.unrestored == ((1, 0),)
    complete = with_tools(read, TOOLS)
    assert arguments_of(complete) == {"city": "Vis"}
    assert complete.tools == tuple(TOOLS)
    assert not complete.unrestored
    assert with_tools(complete, []) is complete


def test_joined_calls_are_restored_at_their_own_place() -> None:
    made = [
        {"name": "f", "arguments": {"city": "Vis", "days": None}},
        {"name": "f", "arguments": {"city": "Hvar", "days": None}},
    ]
    turns = [{"from": "human", "value": "Hi"}, *[{"from": "function_call", "value": one} for one in made]]
    read = get_layout("sharegpt").read({"conversations": turns, "tools": TOOLS})
    arguments = [call["function"]["arguments"] for call in read.messages[1]["tool_calls"] or ()]
    assert arguments == [{"city": "Vis"}, {"city": "Hvar"}]


def test_structs_of_different_tools_in_one_table_come_back_as_they_were_written() -> None:
    weather, ferry = TWO_TOOLS
    rows = []
    for tool, name, arguments in (
        (weather, "weather", {"city": "Vis", "days": 2}),
        (ferry, "book_ferry", {"route": "Split-Vis", "cars": ["van"], "window": True}),
        (weather, "weather", {"city": "Hvar"}),
    ):
        row = openai_row(arguments, tools=[tool])
        row["messages"][1]["tool_calls"][0]["function"]["name"] = name
        rows.append(row)
    through = pa.Table.from_pylist(rows).to_pylist()
    assert through[0]["messages"][1]["tool_calls"][0]["function"]["arguments"]["route"] is None
    layout = get_layout("openai")
    for filled, row in zip(through, rows, strict=True):
        assert layout.read(filled).messages == layout.read(row).messages
        assert layout.read(filled).tools == layout.read(row).tools
