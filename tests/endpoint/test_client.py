"""The client of a server: retries, refused fields, models and addresses."""

import asyncio
from datetime import UTC, datetime
from typing import Any

import pytest

from tests.support.served import IMPATIENT
from tests.support.stub_server import Fault, Reply, StubServer, error, wire_call
from trainer.endpoint import Answer, Endpoint, EndpointSettings, Generation, base_url, chat_request
from trainer.errors import EndpointError
from trainer.types import Message

TOOL = {"type": "function", "function": {"name": "f", "parameters": {}}}
HELLO: list[Message] = [{"role": "user", "content": "Hello?"}]


def request(**changes: Any) -> dict[str, Any]:
    return chat_request(HELLO, [TOOL], Generation("base", max_tokens=8, **changes))


def ask(server: StubServer, body: dict[str, Any], *, n: int = 1, **settings: Any) -> tuple[list[Answer], list[str]]:
    """Return the answers to `n` equal requests at once, and the messages for the user."""
    messages: list[str] = []

    async def run() -> list[Answer]:
        async with Endpoint(
            EndpointSettings(server.url, **{"retries": IMPATIENT, **settings}), notify=messages.append
        ) as e:
            return await asyncio.gather(*(e.chat(body) for _ in range(n)))

    return asyncio.run(run()), messages


def models(url: str, **settings: Any) -> tuple[str, ...]:
    async def run() -> tuple[str, ...]:
        async with Endpoint(EndpointSettings(url, **{"retries": IMPATIENT, **settings})) as endpoint:
            return await endpoint.models()

    return asyncio.run(run())


# Retries


@pytest.mark.parametrize("fault", ["rate_limit", "rate_limit_date", "server_error", "reset", "cut", "slow"])
def test_a_temporary_failure_is_retried(fault: Fault) -> None:
    with StubServer(plan=lambda body, n_before: fault if n_before == 0 else None) as server:
        started = datetime.now(UTC)
        (answer,), _ = ask(server, request(), timeout_s=0.5)
        seconds = (datetime.now(UTC) - started).total_seconds()
    assert (answer.content, answer.error) == ("Hello!", None)
    assert server.requests.total() == 2
    if fault == "rate_limit":
        assert seconds >= 0.2


@pytest.mark.parametrize("fault", ["server_error", "reset", "slow"])
def test_a_lasting_failure_is_an_error_after_the_last_attempt(fault: Fault) -> None:
    with StubServer(plan=lambda body, n_before: fault) as server:
        (answer,), _ = ask(server, request(), timeout_s=0.2)
    assert answer.error is not None
    assert answer.error.endswith("(4 attempts)")
    assert answer.finish_reason == "error"
    assert server.requests.total() == 4


@pytest.mark.parametrize("fault", ["garbage", "truncated_json", "html", "no_choices", "null_message"])
def test_a_broken_answer_is_an_error_without_a_retry(fault: Fault) -> None:
    with StubServer(plan=lambda body, n_before: fault) as server:
        (answer,), _ = ask(server, request())
    assert answer.error is not None
    assert answer.finish_reason == "error"
    assert server.requests.total() == 1


def test_a_prompt_that_is_too_long_has_an_error_of_its_own() -> None:
    with StubServer(plan=lambda body, n_before: "too_long") as server:
        (answer,), _ = ask(server, request())
    assert answer.error is not None
    assert answer.error.startswith("context_too_long: ")
    assert server.requests.total() == 1


def test_the_token_limit_of_the_request_decides_whether_an_answer_was_cut() -> None:
    with StubServer(lambda body: {"tool_calls": [wire_call("f", "{}")]}) as server:
        for limit, read in ((5, "length"), (6, "stop")):
            (answer,), _ = ask(server, {**request(), "max_tokens": limit})
            assert answer.finish_reason == read


# Refused fields


def test_requests_to_a_server_without_a_parser_use_tool_choice_none() -> None:
    def refuse(body: dict[str, Any]) -> Reply | None:
        text = '"auto" tool choice requires --enable-auto-tool-choice and --tool-call-parser to be set'
        return None if body.get("tool_choice") == "none" else error(400, text)

    with StubServer(refuse=refuse) as server:
        answers, messages = ask(server, request(), n=5)
    assert [answer.error for answer in answers] == [None] * 5
    assert len(messages) == 1
    assert "no tool-call parser" in messages[0]
    assert all(body["tools"] for body in server.bodies)


def test_a_refused_field_is_dropped_and_reported_once() -> None:
    def refuse(body: dict[str, Any]) -> Reply | None:
        for name in ("skip_special_tokens", "chat_template_kwargs", "logit_bias"):
            if name in body:
                return error(400, f"Unknown parameter: '{name}'")
        return None

    with StubServer(refuse=refuse) as server:
        body = request(keep_special_tokens=True, chat_template_kwargs={"a": 1}, logit_bias={"7": 2.0})
        answers, messages = ask(server, body, n=5)
    assert [answer.error for answer in answers] == [None] * 5
    assert [text.split(":")[0] for text in messages] == [
        "the server refuses skip_special_tokens",
        "the server refuses chat_template_kwargs",
        "the server refuses logit_bias",
    ]


def test_any_other_refusal_is_an_error_that_quotes_the_server() -> None:
    with StubServer(refuse=lambda body: error(400, "max_tokens is too large")) as server:
        (answer,), messages = ask(server, request(chat_template_kwargs={"a": 1}))
    assert answer.error == "HTTP 400: max_tokens is too large"
    assert messages == []
    assert server.requests.total() == 1


# Models


def test_the_registered_models_are_listed_and_a_missing_one_is_an_error_with_its_name() -> None:
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


def test_a_web_page_is_not_a_list_of_models(monkeypatch: pytest.MonkeyPatch) -> None:
    page = Reply(body=b"<html></html>", kind="text/html")
    with StubServer() as server:
        monkeypatch.setattr(server, "reply", lambda *request: page)
        with pytest.raises(EndpointError, match="sent HTML, not a list of models"):
            models(server.url)


def test_the_key_is_sent_and_a_wrong_one_is_an_error() -> None:
    with StubServer(api_key="secret") as server:
        assert models(server.url, api_key="secret") == ("base", "carsales")
        with pytest.raises(EndpointError, match="refuses the API key"):
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
