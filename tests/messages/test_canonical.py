"""Every way of storing a conversation becomes one form, and malformed ones are reported."""

import re
from typing import Any

import pytest
from template_samples import SAMPLES

from trainer.errors import DataError
from trainer.messages import canonical_messages, read_messages
from trainer.messages.conversation import RESTORED


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


def test_a_call_without_id_and_type_gets_both() -> None:
    (turn,) = canonical({"role": "assistant", "tool_calls": [call("{}", id=None, type=None, index=0)]})
    made = {"id": "call00000", "type": "function", "function": {"name": "find", "arguments": {}}}
    assert turn["tool_calls"] == [made]


def test_null_and_missing_content_of_a_calling_turn_are_empty_text() -> None:
    for turn in ({"content": None}, {}):
        assert canonical({"role": "assistant", "tool_calls": [call("{}")], **turn})[0]["content"] == ""


@pytest.mark.parametrize("excluded", [{"train": False}, {"weight": 0}])
def test_train_false_or_weight_0_keeps_a_turn_as_context(excluded: dict[str, Any]) -> None:
    (turn,) = canonical({"role": "assistant", "content": "x", **excluded})
    assert turn == {"role": "assistant", "content": "x", "train": False}


@pytest.mark.parametrize("included", [{"train": True}, {"train": None}, {"weight": 1}, {}])
def test_any_other_assistant_turn_is_trained(included: dict[str, Any]) -> None:
    assert "train" not in canonical({"role": "assistant", "content": "x", **included})[0]


def test_results_are_matched_by_id_and_follow_the_order_of_the_calls() -> None:
    turn = {"role": "assistant", "tool_calls": [call("{}", id="a"), call("{}", id="b")]}
    results = [{"role": "tool", "tool_call_id": name, "content": name} for name in ("b", "a")]
    assert [(m["tool_call_id"], m["content"]) for m in canonical(turn, *results)[1:]] == [("a", "a"), ("b", "b")]


def test_a_request_may_hold_turns_without_words_and_training_data_may_not() -> None:
    assert [m["content"] for m in canonical({"role": "user", "content": " "}, {"role": "assistant", "content": ""})]
    for role in ("user", "assistant"):
        with pytest.raises(DataError, match=r"turn 0: .* says nothing"):
            read_messages([{"role": role, "content": " "}])


def test_a_request_keeps_reasoning_where_it_is_and_training_data_moves_it() -> None:
    turn = {"role": "assistant", "content": "<think>Why?</think>Yes."}
    assert canonical(turn)[0]["content"] == turn["content"]
    read = read_messages([turn])
    assert read.messages[0] == {"role": "assistant", "content": "Yes.", "reasoning_content": "Why?"}
    assert read.converted == ("<think> block read as reasoning_content",)


def test_nulls_that_a_table_format_filled_in_are_removed_by_the_schema() -> None:
    turn = {"role": "assistant", "tool_calls": [call({"a": 1, "b": None})]}
    tool = {"type": "function", "function": {"name": "find", "parameters": {"type": "object", "properties": {"a": {}}}}}
    read = read_messages([turn], [tool])
    assert arguments_of(read.messages[0]) == {"a": 1}
    assert read.converted == (RESTORED,)


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
        ([{"role": "robot", "content": "x"}], "turn 0: role is the text 'robot'; known: system"),
        ([{"content": "x"}], "turn 0: role is null"),
        ([{"role": "user", "content": 3}], "turn 0: content is the number 3; it must be text"),
        ([{"role": "user", "content": None}], "turn 0: content is null"),
        ([{"role": "user", "content": "x", "contents": "y"}], 'turn 0: unknown key "contents"; did you mean content?'),
        ([{"role": "assistant", "content": None}], "turn 0: the assistant says nothing and calls nothing"),
        ([{"role": "assistant", "tool_calls": [{"id": "c"}]}], "turn 0, tool_calls entry 0: the call's name is null"),
        ([{"role": "assistant", "tool_calls": [None]}], "turn 0, tool_calls entry 0: the call is null"),
        ([{"role": "assistant", "tool_calls": [call("{1}")]}], 'arguments of the call to "find" is not JSON'),
        ([{"role": "assistant", "tool_calls": [call('{"a": NaN}')]}], 'arguments of the call to "find" is not JSON'),
        ([{"role": "assistant", "tool_calls": [call("[1]")]}], "are a list of 1; they must be a JSON object"),
        ([{"role": "assistant", "tool_calls": [call("{}"), call("{}")]}], 'turn 0: two calls have the id "c1"'),
        ([{"role": "user", "content": "x", "tool_calls": [call("{}")]}], "turn 0: tool_calls is on a user message"),
        ([{"role": "user", "content": "x"}, RESULT], "turn 1: a tool result answers no call"),
        ([ASSISTANT, {**RESULT, "tool_call_id": "c2"}], 'turn 1: tool_call_id "c2" matches no call of turn 0'),
        ([ASSISTANT, RESULT, RESULT], "turn 2: a second result has the tool_call_id"),
        ([ASSISTANT, {"role": "user", "content": "x"}], 'turn 0: call 0 to "find" (id "c1") has no result'),
        (
            [{"role": "assistant", "content": "x", "train": "no"}],
            "turn 0: train is the text 'no'; allowed: true",
        ),
        ([{"role": "assistant", "content": "x", "weight": 0.5}], "turn 0: weight is the number 0.5; allowed: 0"),
        ([{"role": "assistant", "content": "x", "weight": True}], "turn 0: weight is true; allowed: 0"),
        (
            [{"role": "assistant", "content": "x", "train": True, "weight": 0}],
            "train is true, but weight is 0; keep one",
        ),
        ([{"role": "assistant", "tool_calls": [call('{"a": 1, "a": 2}')]}], 'the key "a" appears twice in one object'),
        ([{"role": "assistant", "tool_calls": [call("{}", index=False)]}], "index is false"),
        ([{"role": "assistant", "content": "x", "audio": {"id": "a"}}], 'turn 0: unknown key "audio"'),
    ],
)
def test_an_error_names_the_turn_of_a_malformed_message(messages: list[Any], reason: str) -> None:
    with pytest.raises(DataError, match=re.escape(reason)):
        canonical_messages(messages)
