"""When two argument values are the same, and which paths they share."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainer.tools.equality import PathCounts, count_paths, equal
from trainer.tools.parameters import read_parameters
from trainer.tools.schema import MISSING, SchemaNode

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=4),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=8,
)


def place(schema: dict[str, Any]) -> SchemaNode:
    return read_parameters(schema).node


@given(value=JSON)
def test_every_value_equals_itself_and_shares_all_its_paths(value: Any) -> None:
    assert equal(value, value)
    counts = count_paths({"k": value}, {"k": value})
    assert len(set(counts)) == 1


@given(a=JSON, b=JSON)
def test_equality_and_path_counts_are_symmetric_and_agree(a: Any, b: Any) -> None:
    assert equal(a, b) == equal(b, a)
    forth, back = count_paths({"k": a}, {"k": b}), count_paths({"k": b}, {"k": a})
    assert (forth.gold, forth.predicted, forth.shared, forth.equal) == (
        back.predicted, back.gold, back.shared, back.equal
    )  # fmt: skip
    assert equal(a, b) == (len(set(forth)) == 1)


@pytest.mark.parametrize(
    ("a", "b", "same"),
    [
        (1, 1.0, True),
        (True, 1, False),
        (False, 0, False),
        ("5", 5, False),
        (None, False, False),
        (None, "", False),
        ([1, 2], [2, 1], False),
        ([1], [1, 1], False),
        ({"a": 1, "b": 2}, {"b": 2, "a": 1}, True),
        ({"a": None}, {}, False),
        ([], {}, False),
        (2**60, float(2**60), True),
        (2**60 + 1, float(2**60), False),
    ],
)
def test_plain_values_are_compared_with_their_types(a: Any, b: Any, same: bool) -> None:
    assert equal(a, b) is same


@pytest.mark.parametrize(
    ("comparator", "a", "b", "same"),
    [
        ("casefold", "Straße", "STRASSE", True),
        ("casefold", "Audi A4", "audi a4", True),
        ("casefold", "Audi A4", "Audi-A4", False),
        ("casefold", 5, 5.0, True),
        ("date", "2026-03-04", "20260304", True),
        ("date", "2026-03-04T10:00", "2026-03-04 10:00:00", True),
        ("date", "2026-03-04T10:00Z", "2026-03-04T11:00+01:00", True),
        ("date", "2026-03-04", "2026-04-03", False),
        ("date", "2026-03-04", "2026-03-04T00:00", False),
        ("date", "14:30", "14:30:00", True),
        ("date", "tomorrow", "tomorrow", True),
        ("date", "tomorrow", "Tomorrow", False),
        ("number", 19.99, 19.990001, True),
        ("number", 19.99, 19.98, False),
        ("number", "24900", 24900, True),
        ("number", " 24900.0", 24900, True),
        ("number", "1e999", 5, False),
        ("number", True, 1, False),
        ("number", "many", "many", True),
        ("set", ["a", "b"], ["b", "a", "a"], True),
        ("set", ["a", "b"], ["a"], False),
        ("set", [1, "1"], [1], False),
        ("set", "a", "a", True),
        ("text", "Call back, please!", "call  back please", True),
        ("text", "1.5 litres", "15 litres", False),
        ("text", "call", "write", False),
    ],
)
def test_a_comparator_loosens_only_what_it_says(comparator: str, a: Any, b: Any, same: bool) -> None:
    assert equal(a, b, place({"x-compare": comparator})) is same
    assert equal(b, a, place({"x-compare": comparator})) is same


def test_comparators_and_defaults_hold_at_every_depth() -> None:
    item = {
        "type": "object",
        "properties": {"name": {"x-compare": "casefold"}, "n": {"type": "integer", "default": 1}},
    }
    node = place(
        {
            "type": "object",
            "properties": {
                "list": {"type": "array", "items": {"$ref": "#/$defs/item"}},
                "maybe": {"anyOf": [{"$ref": "#/$defs/item"}, {"type": "null"}]},
            },
            "$defs": {"item": item},
        }
    )
    assert equal(
        {"list": [{"name": "A"}], "maybe": {"name": "B", "n": 1}},
        {"list": [{"name": "a", "n": 1}], "maybe": {"name": "b"}},
        node,
    )
    assert not equal({"list": [{"name": "A", "n": 2}]}, {"list": [{"name": "a"}]}, node)


def test_a_reference_in_a_circle_ends() -> None:
    assert equal({"a": 1}, {"a": 1}, place({"$ref": "#/$defs/x", "$defs": {"x": {"$ref": "#/$defs/x"}}}))


def test_a_value_with_a_comparator_is_one_path() -> None:
    node = place({"properties": {"tags": {"x-compare": "set"}, "n": {"default": 3}}})
    assert count_paths({"tags": ["a", "b"]}, {"tags": ["b", "a"]}, node) == PathCounts(1, 1, 1, 1)
    assert count_paths({"tags": ["a"]}, {"tags": ["b", "a"]}, node) == PathCounts(1, 1, 1, 0)


def test_a_default_counts_for_both_once_one_side_writes_it() -> None:
    node = place({"properties": {"n": {"default": 3}}})
    assert count_paths({}, {}, node) == PathCounts()
    assert count_paths({"n": 3}, {}, node) == PathCounts(1, 1, 1, 1)
    assert count_paths({"n": 4}, {}, node) == PathCounts(1, 1, 1, 0)


def test_paths_of_different_shapes_are_not_shared() -> None:
    assert count_paths({"a": {"x": 1, "y": 2}}, {"a": 5}) == PathCounts(gold=2, predicted=1)
    assert count_paths({"a": []}, {"a": [1]}) == PathCounts(gold=1, predicted=1)
    assert count_paths({"a": {"0": 1}}, {"a": [1]}) == PathCounts(gold=1, predicted=1)


@pytest.mark.parametrize(
    ("a", "b", "same"),
    [
        ("नमस्ते दुनिया।", "नमस्ते, दुनिया", True),
        ("कि", "की", False),
        ("ที่", "ที", False),
        ("مَدينة", "مُدينة", False),
        ("C++", "C", False),
        ("c#", "C#.", True),
        ("-5", "5", False),
        ("(-5)", "−5", True),
        ("x=-5", "x=5", False),
        ("10%", "10", False),
        ("€5", "$5", False),
        ("1.5", "15", False),
        ("1.5", "1 5", False),
        ("12:30", "1230", False),
        ("Don’t — stop!", "don't stop", True),
        ("«Bonjour»", '"bonjour"', True),
        ("❤️", "❤", True),
        ("well-known", "well known", True),
        (".5", "5", False),
        ("-.5", ".5", False),
        ("–5", "5", False),
        ("A-", "A", False),
        ("snake_case", "snake case", False),
        ("2010–2015", "2010-2015", True),
    ],
)
def test_text_ignores_the_punctuation_of_sentences_and_nothing_that_has_a_meaning(a: str, b: str, same: bool) -> None:
    node = SchemaNode({"type": "string", "x-compare": "text"})
    assert equal(a, b, node) == equal(b, a, node) == same


@pytest.mark.parametrize(
    ("a", "b", "same"),
    [
        ("2026", "20:26", False),
        ("202603", "20:26:03", False),
        ("12", "12:00", False),
        ("2026-03-04", "20260304", True),
        ("10:00Z", "11:00+01:00", True),
        ("2026-W05", "2026-01-26", False),
        ("2026-W05-1", "2026-01-26", True),
        ("2026-03-04T10:00Z", "2026-03-04T11:00+01:00", True),
        ("2026-03-04", "2026-03-04T00:00", False),
    ],
)
def test_a_date_is_no_time_and_a_year_is_neither(a: str, b: str, same: bool) -> None:
    assert equal(a, b, SchemaNode({"type": "string", "x-compare": "date"})) == same


def test_a_required_argument_has_no_default_and_a_default_is_that_of_the_property_itself() -> None:
    one = {"type": "integer", "default": 1}
    assert SchemaNode({"properties": {"n": one}}).default("n") == 1
    assert SchemaNode({"properties": {"n": one}, "required": ["n"]}).default("n") is MISSING
    assert SchemaNode({"properties": {"n": one}, "anyOf": [{"required": ["n"]}, {}]}).default("n") is MISSING
    assert SchemaNode({"properties": {"n": {"anyOf": [one, {"type": "null"}]}}}).default("n") is MISSING
    assert SchemaNode({"properties": {"n": {"allOf": [one], "default": 2}}}).default("n") == 2
