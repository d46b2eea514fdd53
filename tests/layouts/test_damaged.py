"""Damaged rows are refused, each kind in its own words, with place and remedy."""

import pytest

from tests.layouts.samples.damaged import DAMAGED, Damaged
from trainer.errors import DataError
from trainer.layouts import get_layout


def message_of(case: Damaged) -> str:
    with pytest.raises(DataError) as caught:
        get_layout(case.layout).read(case.row)
    return str(caught.value)


@pytest.mark.parametrize("case", DAMAGED, ids=lambda case: case.kind)
def test_a_damaged_row_is_refused_with_its_place_and_what_was_found(case: Damaged) -> None:
    message = message_of(case)
    assert all(part in message for part in case.expected), message
    assert len(message) < 400


def test_every_kind_of_damage_has_a_message_of_its_own() -> None:
    kinds = {case.kind for case in DAMAGED}
    assert len(kinds) == len(DAMAGED) > 90
    # Blank and empty, broken and cut off, are the same mistake in one place.
    assert len({message_of(case) for case in DAMAGED}) >= len(DAMAGED) - 4


@pytest.mark.parametrize("padding", [{}, {"audio": None, "annotations": None, "foo": None}])
def test_a_null_of_an_unknown_key_is_padding(padding: dict[str, None]) -> None:
    messages = [{"role": "user", "content": "Hi", **padding}, {"role": "assistant", "content": "Hello.", **padding}]
    assert len(get_layout("openai").read({"messages": messages}).messages) == 2


ASKED = {
    "role": "assistant",
    "tool_calls": [{"id": str(n), "function": {"name": name, "arguments": "{}"}} for n, name in enumerate("fg")],
}


def test_a_result_that_is_named_after_another_call_than_its_id_says_is_refused() -> None:
    results = [{"role": "tool", "tool_call_id": str(n), "name": name, "content": "x"} for n, name in enumerate("gf")]
    with pytest.raises(
        DataError, match='turn 2: the result is named "g", but its tool_call_id is that of a call to "f"'
    ):
        get_layout("openai").read({"messages": [{"role": "user", "content": "Hi"}, ASKED, *results]})


def test_a_system_prompt_alone_is_no_conversation() -> None:
    with pytest.raises(DataError, match="the conversation has no turns"):
        get_layout("openai").read({"system": "Be brief.", "messages": []})


def test_a_call_in_text_with_a_key_twice_is_not_read_as_python() -> None:
    said = {"from": "function_call", "value": '{"name": "f", "arguments": {"to": "a", "to": "b"}}'}
    with pytest.raises(DataError, match='the key "to" appears twice'):
        get_layout("sharegpt").read({"conversations": [{"from": "human", "value": "Hi"}, said]})
