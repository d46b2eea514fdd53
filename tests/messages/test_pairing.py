"""Which result answers which call: by id, by a name that is unique, by order; refused when it is uncertain."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainer.errors import DataError
from trainer.messages import pair_results


def calling(*made: tuple[str, str | None]) -> dict[str, Any]:
    """An assistant turn that calls functions, each given by its name and its id."""
    calls = [
        {**({"id": call_id} if call_id else {}), "type": "function", "function": {"name": name, "arguments": {}}}
        for name, call_id in made
    ]
    return {"role": "assistant", "content": "", "tool_calls": calls}


def result(content: str, call_id: str | None = None, name: str | None = None) -> dict[str, Any]:
    given_keys = {"tool_call_id": call_id, "name": name}
    return {"role": "tool", "content": content, **{key: value for key, value in given_keys.items() if value}}


def paired(*messages: Any) -> list[tuple[str, str]]:
    """The id and the content of every result, in order."""
    return [
        (one["tool_call_id"] or "", one["content"] or "") for one in pair_results(messages) if one["role"] == "tool"
    ]


def ids(*messages: Any) -> list[str]:
    return [call["id"] for one in pair_results(messages) for call in one.get("tool_calls") or ()]


def test_results_with_ids_take_the_order_of_their_calls() -> None:
    found = paired(calling(("f", "a"), ("g", "b")), result("G", "b"), result("F", "a"))
    assert found == [("a", "F"), ("b", "G")]


def test_results_with_names_alone_are_matched_by_name() -> None:
    found = paired(calling(("f", None), ("g", None)), result("G", name="g"), result("F", name="f"))
    assert found == [("call00000", "F"), ("call00001", "G")]


def test_results_without_id_and_name_are_matched_by_order() -> None:
    assert paired(calling(("f", "a"), ("g", "b")), result("1"), result("2")) == [("a", "1"), ("b", "2")]


def test_a_name_that_two_calls_have_is_matched_by_order() -> None:
    messages = calling(("f", "a"), ("f", "b"), ("g", "c")), result("G", name="g"), result("1", name="f")
    assert paired(*messages, result("2", name="f")) == [("a", "1"), ("b", "2"), ("c", "G")]


def test_groups_of_one_name_in_another_order_are_matched_within_their_name() -> None:
    asked = calling(("f", None), ("f", None), ("g", None), ("g", None))
    answers = [result("G1", name="g"), result("G2", name="g"), result("F1", name="f"), result("F2", name="f")]
    assert [content for _, content in paired(asked, *answers)] == ["F1", "F2", "G1", "G2"]


def test_a_call_without_an_id_takes_the_id_of_its_result() -> None:
    assert paired(calling(("f", None)), result("x", "call_77")) == [("call_77", "x")]
    assert ids(calling(("f", None)), result("x", "call_77")) == ["call_77"]


def test_made_ids_are_new_in_the_whole_conversation() -> None:
    turns = calling(("f", None)), result("x"), calling(("g", "call00000")), result("y"), calling(("h", None))
    assert ids(*turns) == ["call00001", "call00000", "call00002"]


def test_ids_first_then_names_then_order() -> None:
    asked = calling(("f", "a"), ("g", "b"), ("h", "c"))
    assert paired(asked, result("H"), result("G", name="g"), result("F", "a")) == [("a", "F"), ("b", "G"), ("c", "H")]


def test_the_last_turn_may_have_open_calls() -> None:
    assert ids(calling(("f", None), ("g", "x"))) == ["call00000", "x"]


@pytest.mark.parametrize(
    ("messages", "words"),
    [
        ([calling(("f", "a"), ("g", "b")), result("x", "a")], 'turn 0: call 1 to "g" (id "b") has no result'),
        ([calling(("f", "a"), ("g", "b")), result("x")], "turn 1: it is uncertain which of 2 calls"),
        ([calling(("f", "a")), result("x", "b")], 'turn 1: tool_call_id "b" matches no call of turn 0'),
        ([calling(("f", "a")), result("x", "a"), result("y")], "turn 2: a tool result answers no call"),
        ([calling(("f", "a"), ("g", "a"))], 'two calls have the id "a"'),
        ([calling(("f", "a")), {"role": "user", "content": "x"}], "no result, and the conversation goes on"),
        ([calling(("f", None), ("f", None)), result("x", name="f")], "uncertain which of 2 calls"),
        ([calling(("f", None), ("f", None), ("g", None)), *[result("x", name="g")] * 2, result("y", name="f")],
         "uncertain which result answers which call"),
        ([result("x", "a")], "answers no call"),
    ],
)  # fmt: skip
def test_what_is_uncertain_or_left_over_is_refused(messages: list[Any], words: str) -> None:
    with pytest.raises(DataError) as caught:
        pair_results(messages)
    assert words in str(caught.value)


def test_errors_name_the_turns_of_the_row() -> None:
    with pytest.raises(DataError, match=r"^turn 7: .* of turn 5"):
        pair_results([calling(("f", "a")), result("x", "b")], turns=[5, 7])  # type: ignore[list-item]


@given(st.permutations(range(6)), st.sets(st.integers(0, 5)))
def test_any_order_of_results_with_ids_gives_the_same_conversation(order: list[int], unnamed: set[int]) -> None:
    asked = calling(*[(f"f{index}", f"id{index}") for index in range(6)])
    answers = [result(str(index), f"id{index}", None if index in unnamed else f"f{index}") for index in order]
    assert paired(asked, *answers) == [(f"id{index}", str(index)) for index in range(6)]


@given(st.permutations(range(5)))
def test_pairing_twice_changes_nothing(order: list[int]) -> None:
    asked = calling(*[(f"f{index}", None) for index in range(5)])
    once = pair_results([asked, *[result(str(index), name=f"f{index}") for index in order]])  # type: ignore[list-item]
    assert pair_results(once) == once
