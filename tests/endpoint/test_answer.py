"""Answers of a server, well formed and not, and how each is read."""

import json
from typing import Any

import pytest

from tests.support.stub_server import completion, wire_call
from trainer.endpoint import Answer, read_answer
from trainer.endpoint.answer import parse_calls
from trainer.types import FinishReason


def body_of(message: Any, finish: Any = "stop") -> bytes:
    value = completion({"model": "m"}, {}, "stop")
    value["choices"][0] |= {"message": message, "finish_reason": finish}
    return json.dumps(value).encode()


def test_a_well_formed_answer_is_read() -> None:
    answer = read_answer(body_of({"content": "Hi"}), latency_s=0.5)
    assert answer == Answer("Hi", None, "stop", None, 100, 5, 0.5)
    assert read_answer(body_of({"content": None})).content == ""
    assert (
        read_answer(body_of({"content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]})).content
        == "ab"
    )
    assert read_answer(body_of({"content": "Hi"}, "length")).finish_reason == "length"


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b"", "invalid JSON"),
        (b"\xff\xfe", "invalid JSON"),
        (b"[" * 100_000, "invalid JSON"),
        (b"<!doctype html>", "HTML"),
        (b"null", "no choices"),
        (b'{"choices": {}}', "no choices"),
        (b'{"choices": [null]}', "no choices"),
        (body_of(None), "no message"),
        (body_of({"content": 5}), "content is not text"),
        (body_of({"content": [5]}), "content is not text"),
        (body_of({"content": "Hi"}, "banana"), "finish_reason is 'banana'"),
        (body_of({"content": "Hi"}, None), "finish_reason is None"),
        (body_of({"content": "Hi"}, ["stop"]), "finish_reason is"),
        (body_of({"content": "Hi"}, "tool_calls"), "the message has no tool calls"),
    ],
)
def test_a_body_that_is_not_an_answer_is_an_error(body: bytes, reason: str) -> None:
    answer = read_answer(body)
    assert answer.finish_reason == "error"
    assert answer.error is not None
    assert reason in answer.error


@pytest.mark.parametrize(
    ("entry", "status"),
    [
        (wire_call("f", '{"a": 1}'), "ok"),
        (wire_call("f", '{"a": '), "invalid_json"),
        (wire_call("f", ""), "invalid_json"),
        (wire_call("f", '{"a": NaN}'), "invalid_json"),
        (wire_call("f", "{} {}"), "invalid_json"),
        (wire_call("f", "[1]"), "bad_arguments"),
        (wire_call("f", '"{}"'), "bad_arguments"),
        ({"function": {"name": "f", "arguments": {"a": 1}}}, "bad_arguments"),
        ({"function": {"name": "f"}}, "bad_arguments"),
        ({"function": {"name": None, "arguments": "{}"}}, "missing_name"),
        ({"function": {"arguments": "{}"}}, "missing_name"),
        ({"function": "f"}, "invalid_json"),
        ({}, "invalid_json"),
        ("f", "invalid_json"),
        (None, "invalid_json"),
    ],
)
def test_every_entry_of_tool_calls_is_one_attempted_call(entry: Any, status: str) -> None:
    text, (first, call) = parse_calls([wire_call("g", "{}"), entry], finish_reason="stop")
    assert (first.name, first.arguments, first.status) == ("g", {}, "ok")
    assert call.status == status
    assert text[call.start : call.end] == call.raw
    assert (call.arguments is not None) == (status == "ok")


@pytest.mark.parametrize(("finish", "status"), [("stop", "invalid_json"), ("length", "truncated")])
def test_a_last_call_is_truncated_if_the_token_limit_cut_it(finish: FinishReason, status: str) -> None:
    cut = wire_call("f", '{"a": ')
    _, calls = parse_calls([cut, cut], finish_reason=finish)
    assert [call.status for call in calls] == ["invalid_json", status]


@pytest.mark.parametrize(
    ("finish", "max_tokens", "read"),
    [
        ("tool_calls", 5, "length"),
        ("tool_calls", 6, "stop"),
        ("tool_calls", None, "stop"),
        ("stop", 5, "stop"),
        ("length", 9, "length"),
    ],
)
def test_calls_that_fill_the_token_limit_are_cut_even_if_the_server_reports_tool_calls(
    finish: str, max_tokens: int | None, read: FinishReason
) -> None:
    """vLLM reports `tool_calls` in place of `length`. The stub server counts five tokens."""
    body = json.dumps(completion({"model": "m"}, {"tool_calls": [wire_call("f", '{"a": ')]}, finish)).encode()
    answer = read_answer(body, max_tokens=max_tokens)
    assert answer.finish_reason == read
    (call,) = parse_calls(answer.tool_calls, finish_reason=answer.finish_reason)[1]
    assert call.status == ("truncated" if read == "length" else "invalid_json")


def test_tool_calls_that_are_not_a_list_are_one_malformed_attempt() -> None:
    assert [call.status for call in parse_calls("search", finish_reason="stop")[1]] == ["invalid_json"]
    assert parse_calls(None, finish_reason="stop") == parse_calls([], finish_reason="stop") == ("", ())
