"""Requests in wire form, patience, and answers that are not taken on trust."""

import asyncio
import json
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

import pytest

from tests.support.served import IMPATIENT
from tests.support.stub_server import Fault, Reply, StubServer, completion, error, wire_call
from trainer.endpoint import (
    Answer,
    Endpoint,
    EndpointSettings,
    Generation,
    RetryPolicy,
    base_url,
    chat_request,
    read_answer,
    retry_after_s,
    turn_request,
    wire_messages,
)
from trainer.endpoint.answer import parse_calls
from trainer.endpoint.schedule import Schedule, ask_turns
from trainer.errors import EndpointError
from trainer.types import EvalTurn, FinishReason, Message

TOOL = {"type": "function", "function": {"name": "f", "parameters": {}}}
HELLO: list[Message] = [{"role": "user", "content": "Hello?"}]


def ask(server: StubServer, body: dict[str, Any], *, n: int = 1, **settings: Any) -> tuple[list[Answer], list[str]]:
    """The answers to `n` equal requests at once, and what people were told."""
    told: list[str] = []

    async def run() -> list[Answer]:
        async with Endpoint(
            EndpointSettings(server.url, **{"retries": IMPATIENT, **settings}), notify=told.append
        ) as e:
            return await asyncio.gather(*(e.chat(body) for _ in range(n)))

    return asyncio.run(run()), told


def models(url: str, **settings: Any) -> tuple[str, ...]:
    async def run() -> tuple[str, ...]:
        async with Endpoint(EndpointSettings(url, **{"retries": IMPATIENT, **settings})) as endpoint:
            return await endpoint.models()

    return asyncio.run(run())


def request(**changes: Any) -> dict[str, Any]:
    return chat_request(HELLO, [TOOL], Generation("base", max_tokens=8, **changes))


# Requests


def test_messages_go_in_openai_form() -> None:
    messages: list[Message] = [
        {"role": "assistant", "content": "", "train": False, "tool_calls": [_call("a", {"x": "é"}), _call(None, {})]},
        {"role": "tool", "content": "1", "tool_call_id": "a"},
        {"role": "tool", "content": "2"},
        {"role": "assistant", "content": "", "tool_calls": [_call(None, {})]},
        {"role": "tool", "content": "3"},
        {"role": "assistant", "content": "Fine."},
    ]
    wire = wire_messages(messages)
    first = wire[0]
    assert first["content"] is None
    assert "train" not in first
    assert first["tool_calls"][0] == {
        "id": "a",
        "type": "function",
        "function": {"name": "f", "arguments": '{"x": "é"}'},
    }
    made_up = [wire[0]["tool_calls"][1]["id"], wire[3]["tool_calls"][0]["id"]]
    assert [wire[1]["tool_call_id"], wire[2]["tool_call_id"], wire[4]["tool_call_id"]] == ["a", *made_up]
    assert len(set(made_up)) == 2
    assert all(len(made) == 9 and made.isalnum() for made in made_up)
    assert wire[5] == {"role": "assistant", "content": "Fine."}


def test_a_request_carries_nothing_that_was_not_asked_for() -> None:
    assert set(request()) == {"model", "messages", "tools", "max_tokens", "temperature"}
    more = request(chat_template_kwargs={"enable_thinking": False}, keep_special_tokens=True, extra_body={"seed": 1})
    assert more["chat_template_kwargs"] == {"enable_thinking": False}
    assert (more["skip_special_tokens"], more["seed"]) == (False, 1)


def _call(call_id: str | None, arguments: dict[str, Any]) -> Any:
    call = {"type": "function", "function": {"name": "f", "arguments": arguments}}
    return {"id": call_id, **call} if call_id else call


# Patience


def test_waits_double_with_jitter_and_never_undercut_what_the_server_said() -> None:
    policy = RetryPolicy(n_attempts=9, first_wait_s=1, longest_wait_s=8)
    for n_failed, whole in [(1, 1), (2, 2), (3, 4), (4, 8), (8, 8)]:
        waits = [policy.wait_s(n_failed, None) for _ in range(50)]
        assert all(wait is not None and whole / 2 <= wait <= whole for wait in waits)
        assert len(set(waits)) > 1
    assert policy.wait_s(1, 60.0) == 60.0
    assert policy.wait_s(9, None) is None
    assert policy.wait_s(1, 3600.0) is None


def test_retry_after_is_a_number_or_a_date() -> None:
    now = datetime(2030, 1, 1, tzinfo=UTC)
    assert retry_after_s("7", now=now) == 7
    assert retry_after_s(format_datetime(now + timedelta(seconds=9), usegmt=True), now=now) == 9
    assert retry_after_s(format_datetime(now - timedelta(seconds=9), usegmt=True), now=now) == 0
    assert [retry_after_s(value, now=now) for value in (None, "soon", "nan", "inf", "")] == [None] * 5


@pytest.mark.parametrize("fault", ["rate_limit", "rate_limit_date", "server_error", "reset", "cut", "slow"])
def test_what_may_pass_is_asked_again(fault: Fault) -> None:
    with StubServer(plan=lambda body, n_before: fault if n_before == 0 else None) as server:
        started = datetime.now(UTC)
        (answer,), _ = ask(server, request(), timeout_s=0.5)
        seconds = (datetime.now(UTC) - started).total_seconds()
    assert (answer.content, answer.error) == ("Hello!", None)
    assert server.requests.total() == 2
    if fault == "rate_limit":
        assert seconds >= 0.2


@pytest.mark.parametrize("fault", ["server_error", "reset", "slow"])
def test_what_does_not_pass_is_an_error_after_the_last_attempt(fault: Fault) -> None:
    with StubServer(plan=lambda body, n_before: fault) as server:
        (answer,), _ = ask(server, request(), timeout_s=0.2)
    assert answer.error is not None
    assert answer.error.endswith("(4 attempts)")
    assert answer.finish_reason == "error"
    assert server.requests.total() == 4


@pytest.mark.parametrize("fault", ["garbage", "truncated_json", "html", "no_choices", "null_message"])
def test_a_broken_answer_is_an_error_and_is_not_asked_again(fault: Fault) -> None:
    with StubServer(plan=lambda body, n_before: fault) as server:
        (answer,), _ = ask(server, request())
    assert answer.error is not None
    assert answer.finish_reason == "error"
    assert server.requests.total() == 1


def test_a_context_too_long_is_named_as_such() -> None:
    with StubServer(plan=lambda body, n_before: "too_long") as server:
        (answer,), _ = ask(server, request())
    assert answer.error is not None
    assert answer.error.startswith("context_too_long: ")
    assert server.requests.total() == 1


# What a server does not take


def test_a_server_without_parser_is_asked_with_tool_choice_none_from_then_on() -> None:
    def refuse(body: dict[str, Any]) -> Reply | None:
        text = '"auto" tool choice requires --enable-auto-tool-choice and --tool-call-parser to be set'
        return None if body.get("tool_choice") == "none" else error(400, text)

    with StubServer(refuse=refuse) as server:
        answers, told = ask(server, request(), n=5)
    assert [answer.error for answer in answers] == [None] * 5
    assert len(told) == 1
    assert "no tool-call parser" in told[0]
    assert all(body["tools"] for body in server.bodies)


def test_a_field_that_a_server_refuses_is_dropped_and_told_once() -> None:
    def refuse(body: dict[str, Any]) -> Reply | None:
        for name in ("skip_special_tokens", "chat_template_kwargs"):
            if name in body:
                return error(400, f"Unknown parameter: '{name}'")
        return None

    with StubServer(refuse=refuse) as server:
        body = request(keep_special_tokens=True, chat_template_kwargs={"a": 1})
        answers, told = ask(server, body, n=5)
    assert [answer.error for answer in answers] == [None] * 5
    assert [text.split(":")[0] for text in told] == [
        "the server refuses skip_special_tokens",
        "the server refuses chat_template_kwargs",
    ]


def test_another_refusal_is_an_error_that_quotes_the_server() -> None:
    with StubServer(refuse=lambda body: error(400, "max_tokens is too large")) as server:
        (answer,), told = ask(server, request(chat_template_kwargs={"a": 1}))
    assert answer.error == "HTTP 400: max_tokens is too large"
    assert told == []
    assert server.requests.total() == 1


# Models


def test_the_registered_models_are_listed_and_a_missing_one_is_refused_by_name() -> None:
    async def require(url: str) -> None:
        async with Endpoint(EndpointSettings(url)) as endpoint:
            await endpoint.require(["base", "truck"])

    with StubServer() as server:
        assert models(server.url) == ("base", "carsales")
        assert models(server.url.removesuffix("/v1")) == ("base", "carsales")
        with pytest.raises(EndpointError, match="truck is not registered; the server has base, carsales"):
            asyncio.run(require(server.url))


def test_a_wrong_address_is_one_message() -> None:
    with StubServer() as server:
        with pytest.raises(EndpointError, match=r"HTTP 404.*usually ends in /v1"):
            models(f"{server.url}/other")
        url = server.url
    with pytest.raises(EndpointError, match="cannot connect"):
        models(url)
    with pytest.raises(EndpointError, match="must look like http"):
        models("localhost:8000")


def test_a_web_page_is_no_list_of_models(monkeypatch: pytest.MonkeyPatch) -> None:
    page = Reply(body=b"<html></html>", kind="text/html")
    with StubServer() as server:
        monkeypatch.setattr(server, "reply", lambda *request: page)
        with pytest.raises(EndpointError, match="answers with HTML"):
            models(server.url)


def test_the_key_is_sent_and_a_wrong_one_is_told() -> None:
    with StubServer(api_key="secret") as server:
        assert models(server.url, api_key="secret") == ("base", "carsales")
        with pytest.raises(EndpointError, match="refuses the key"):
            models(server.url)


@pytest.mark.parametrize(
    ("typed", "used"),
    [
        ("http://h:1", "http://h:1/v1"),
        ("http://h:1/", "http://h:1/v1"),
        ("http://h:1/v1/", "http://h:1/v1"),
        ("http://h:1/v1/chat/completions", "http://h:1/v1"),
        ("https://h/api/openai", "https://h/api/openai"),
    ],
)
def test_the_base_address_is_found(typed: str, used: str) -> None:
    assert base_url(typed) == used


# Answers


def body_of(message: Any, finish: Any = "stop") -> bytes:
    value = completion({"model": "m"}, {}, "stop")
    value["choices"][0] |= {"message": message, "finish_reason": finish}
    return json.dumps(value).encode()


def test_an_answer_is_read() -> None:
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
        (b"", "no valid JSON"),
        (b"\xff\xfe", "no valid JSON"),
        (b"[" * 100_000, "no valid JSON"),
        (b"<!doctype html>", "HTML"),
        (b"null", "no choices"),
        (b'{"choices": {}}', "no choices"),
        (b'{"choices": [null]}', "no choices"),
        (body_of(None), "no message"),
        (body_of({"content": 5}), "content is no text"),
        (body_of({"content": [5]}), "content is no text"),
        (body_of({"content": "Hi"}, "banana"), "finish_reason is 'banana'"),
        (body_of({"content": "Hi"}, None), "finish_reason is None"),
        (body_of({"content": "Hi"}, ["stop"]), "finish_reason is"),
        (body_of({"content": "Hi"}, "tool_calls"), "the message has none"),
    ],
)
def test_what_is_no_answer_is_an_error(body: bytes, reason: str) -> None:
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
def test_every_entry_of_tool_calls_is_one_attempt(entry: Any, status: str) -> None:
    text, (first, call) = parse_calls([wire_call("g", "{}"), entry], finish_reason="stop")
    assert (first.name, first.arguments, first.status) == ("g", {}, "ok")
    assert call.status == status
    assert text[call.start : call.end] == call.raw
    assert (call.arguments is not None) == (status == "ok")


@pytest.mark.parametrize(("finish", "status"), [("stop", "invalid_json"), ("length", "truncated")])
def test_a_last_call_that_the_token_limit_cut_is_truncated(finish: FinishReason, status: str) -> None:
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
def test_calls_that_fill_the_token_limit_are_cut_whatever_the_server_says(
    finish: str, max_tokens: int | None, read: FinishReason
) -> None:
    """vLLM's parser says `tool_calls` over `length`; the stub counts five tokens."""
    body = json.dumps(completion({"model": "m"}, {"tool_calls": [wire_call("f", '{"a": ')]}, finish)).encode()
    answer = read_answer(body, max_tokens=max_tokens)
    assert answer.finish_reason == read
    (call,) = parse_calls(answer.tool_calls, finish_reason=answer.finish_reason)[1]
    assert call.status == ("truncated" if read == "length" else "invalid_json")


def test_the_limit_of_the_request_is_the_one_that_counts() -> None:
    with StubServer(lambda body: {"tool_calls": [wire_call("f", "{}")]}) as server:
        for limit, read in ((5, "length"), (6, "stop")):
            (answer,), _ = ask(server, {**request(), "max_tokens": limit})
            assert answer.finish_reason == read


def test_tool_calls_that_are_no_list_are_one_malformed_attempt() -> None:
    assert [call.status for call in parse_calls("search", finish_reason="stop")[1]] == ["invalid_json"]
    assert parse_calls(None, finish_reason="stop") == parse_calls([], finish_reason="stop") == ("", ())


# Order


def eval_turn(session_id: str, turn: int) -> EvalTurn:
    return EvalTurn(session_id, turn, (), (), "", ())


def workers(n_sessions: int, n_turns: int, n_workers: int) -> list[list[tuple[str, int]]]:
    """What each of `n_workers` equally fast workers gets."""
    schedule = Schedule([eval_turn(f"s{s}", t) for s in range(n_sessions) for t in range(n_turns)])
    taken: list[list[tuple[str, int]]] = [[] for _ in range(n_workers)]
    while True:
        got = False
        for mine in taken:
            turn = schedule.take(mine[-1][0] if mine else None)
            if turn is not None:
                mine.append((turn.session_id, turn.turn))
                got = True
        if not got:
            return taken


def test_a_worker_stays_with_its_session_and_asks_in_order() -> None:
    for mine in workers(6, 4, 3):
        assert [turn for _, turn in mine] == [0, 1, 2, 3] * 2
        assert len({session_id for session_id, _ in mine}) == 2


def test_more_workers_than_sessions_all_have_work_and_no_turn_is_taken_twice() -> None:
    taken = workers(2, 12, 6)
    assert [len(mine) for mine in taken] == [4] * 6
    assert len({turn for mine in taken for turn in mine}) == 24


def asked_order(server: StubServer, turns: list[EvalTurn], *, concurrency: int) -> list[EvalTurn]:
    """The turns in the order of their answers."""
    order: list[EvalTurn] = []

    async def run() -> None:
        async with Endpoint(EndpointSettings(server.url, n_connections=concurrency)) as endpoint:
            await ask_turns(
                turns,
                lambda turn: endpoint.chat(turn_request(turn, Generation("base", max_tokens=1))),
                concurrency=concurrency,
                on_answer=lambda turn, answer: order.append(turn),
            )

    asyncio.run(run())
    return order


def test_the_concurrency_is_used_and_not_exceeded() -> None:
    turns = [eval_turn("one session", t) for t in range(40)]
    with StubServer(delay_s=0.05) as server:
        asked_order(server, turns, concurrency=8)
    assert server.most_open == 8


def test_one_worker_asks_session_after_session() -> None:
    turns = [eval_turn(f"s{s}", t) for s in range(3) for t in range(4)]
    with StubServer() as server:
        assert asked_order(server, turns, concurrency=1) == turns
