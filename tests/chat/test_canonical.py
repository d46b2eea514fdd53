"""Every way of storing a conversation becomes one form, and malformed ones are reported."""

import re
from typing import Any

import pytest
from template_samples import SAMPLES

from trainer.chat import canonical_messages
from trainer.errors import DataError


def call(arguments: Any, **changes: Any) -> dict[str, Any]:
    return {"id": "c1", "type": "function", "function": {"name": "find", "arguments": arguments}, **changes}


def canonical(*messages: Any) -> list[Any]:
    return list(canonical_messages(messages))


def arguments_of(message: Any) -> Any:
    return message["tool_calls"][0]["function"]["arguments"]


@pytest.mark.parametrize("stored", ['{"a": 1, "b": null}', {"a": 1, "b": None}])
def test_arguments_become_an_object_and_keep_their_nulls(stored: Any) -> None:
    (turn,) = canonical({"role": "assistant", "tool_calls": [call(stored)]})
    assert arguments_of(turn) == {"a": 1, "b": None}


@pytest.mark.parametrize("stored", [None, "", "{}", {}])
def test_a_call_without_arguments_has_an_empty_object(stored: Any) -> None:
    assert arguments_of(canonical({"role": "assistant", "tool_calls": [call(stored)]})[0]) == {}


def test_keys_that_a_table_format_filled_with_null_are_removed() -> None:
    padding = {"tool_calls": None, "tool_call_id": None, "name": None, "reasoning_content": None, "train": None}
    assert canonical({"role": "user", "content": "Hi", **padding}) == [{"role": "user", "content": "Hi"}]
    (turn,) = canonical({"role": "assistant", "content": "Hi", **padding})
    assert turn == {"role": "assistant", "content": "Hi"}


def test_a_call_gets_no_new_keys_except_its_type() -> None:
    (turn,) = canonical({"role": "assistant", "tool_calls": [call("{}", id=None, type=None, index=0)]})
    assert turn["tool_calls"] == [{"type": "function", "function": {"name": "find", "arguments": {}}}]


def test_null_and_missing_content_are_empty_text() -> None:
    null, missing = canonical({"role": "user", "content": None}, {"role": "assistant", "tool_calls": [call("{}")]})
    assert null["content"] == missing["content"] == ""


@pytest.mark.parametrize("excluded", [{"train": False}, {"weight": 0}])
def test_train_false_or_weight_0_keeps_a_turn_as_context(excluded: dict[str, Any]) -> None:
    (turn,) = canonical({"role": "assistant", "content": "x", **excluded})
    assert turn == {"role": "assistant", "content": "x", "train": False}


@pytest.mark.parametrize("included", [{"train": True}, {"train": None}, {"weight": 1}, {}])
def test_any_other_assistant_turn_is_trained(included: dict[str, Any]) -> None:
    assert "train" not in canonical({"role": "assistant", "content": "x", **included})[0]


def test_results_are_matched_by_id_in_any_order() -> None:
    turn = {"role": "assistant", "tool_calls": [call("{}", id="a"), call("{}", id="b")]}
    results = [{"role": "tool", "tool_call_id": name, "content": name} for name in ("b", "a")]
    assert [message["tool_call_id"] for message in canonical(turn, *results)[1:]] == ["b", "a"]


def test_a_result_without_an_id_answers_the_first_open_call() -> None:
    turn = {"role": "assistant", "tool_calls": [call("{}", id="a"), call("{}", id="b")]}
    results = [{"role": "tool", "content": "1"}, {"role": "tool", "content": "2"}]
    assert [message["tool_call_id"] for message in canonical(turn, *results)[1:]] == ["a", "b"]


def test_canonical_messages_come_back_equal() -> None:
    for session in SAMPLES:
        once = canonical_messages(session.messages)
        assert canonical_messages(once) == once


def test_the_source_messages_are_not_changed() -> None:
    source: Any = {"role": "assistant", "content": None, "tool_calls": [call('{"a": 1}')]}
    canonical(source)
    assert source == {"role": "assistant", "content": None, "tool_calls": [call('{"a": 1}')]}


ASSISTANT = {"role": "assistant", "tool_calls": [call("{}")]}
RESULT = {"role": "tool", "tool_call_id": "c1", "content": "x"}


@pytest.mark.parametrize(
    ("messages", "reason"),
    [
        ([{"role": "developer", "content": "x"}], "turn 0: role is 'developer'; allowed: system"),
        ([{"content": "x"}], "turn 0: role is None"),
        ([{"role": "user", "content": 3}], "turn 0: content must be text, got int"),
        ([{"role": "assistant", "content": None}], "turn 0: an assistant turn has neither content nor tool calls"),
        ([{"role": "assistant", "tool_calls": [{"id": "c"}]}], "turn 0: a tool call has no function name"),
        (
            [{"role": "assistant", "tool_calls": [call("{1}")]}],
            "turn 0: the arguments of the call to 'find' are not JSON",
        ),
        ([{"role": "assistant", "tool_calls": [call('{"a": NaN}')]}], "NaN is not a JSON value"),
        ([{"role": "assistant", "tool_calls": [call("[1]")]}], "must be a JSON object, got [1]"),
        ([{"role": "assistant", "tool_calls": [call("{}"), call("{}")]}], "turn 0: two calls have the same id"),
        ([{"role": "user", "content": "x"}, RESULT], "turn 1: a tool result answers no call"),
        ([ASSISTANT, {**RESULT, "tool_call_id": "c2"}], "turn 1: tool_call_id 'c2' matches no unanswered call"),
        ([ASSISTANT, RESULT, RESULT], "turn 2: a tool result answers no call"),
        ([ASSISTANT, {"role": "user", "content": "x"}, RESULT], "turn 2: a tool result answers no call"),
        ([{"role": "assistant", "content": "x", "train": "no"}], "turn 0: train is 'no'; allowed: true, false"),
        ([{"role": "assistant", "content": "x", "weight": 0.5}], "turn 0: weight is 0.5; allowed: 0"),
    ],
)
def test_an_error_names_the_turn_of_a_malformed_message(messages: list[Any], reason: str) -> None:
    with pytest.raises(DataError, match=re.escape(reason)):
        canonical_messages(messages)
