"""A connection to an OpenAI-compatible server: lists its models and requests answers. Scores nothing."""

import asyncio
import json
import re
import ssl
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, NamedTuple, Self

import httpx2

from trainer.endpoint.address import read_address
from trainer.endpoint.answer import Answer, printable, read_answer, token_limit
from trainer.endpoint.bounded_body import ENCODING, read_bounded
from trainer.endpoint.dialect import REFUSALS, Dialect
from trainer.endpoint.retries import RETRIED_STATUS, RetryPolicy, retry_after_s
from trainer.errors import EndpointError
from trainer.util.secrets import hide, hide_headers, remember

_TOO_LONG = re.compile(
    r"context[ _](length|window|size)|maximum (model|context|input) length|max_model_len|prompt is too long", re.I
)
_N_SHOWN = 300


@dataclass(frozen=True, slots=True)
class EndpointSettings:
    """The server's address, timeout and retries. `url` is the base address of the API, usually `…/v1`.

    An answer of more than `max_answer_bytes` is not read to its end; its turn fails.
    """

    url: str
    api_key: str | None = None
    timeout_s: float = 600.0
    n_connections: int = 16
    max_answer_bytes: int = 8 * 2**20
    retries: RetryPolicy = field(default_factory=RetryPolicy)


class Reply(NamedTuple):
    """The result of a request after all its attempts: a body, or the reason why there is none."""

    status: int | None
    body: bytes
    failure: str | None
    latency_s: float

    @property
    def refusal(self) -> str | None:
        """The server's message if it refuses the request, else None."""
        return self.body.decode("utf-8", "replace") if self.status in REFUSALS else None


class Endpoint:
    """An open connection. Use it with `async with`.

    `notify` receives messages for the user, for instance about a field that the server refuses. `n_retries` counts
    the attempts after the first one of each request.
    """

    def __init__(self, settings: EndpointSettings, *, notify: Callable[[str], None] = lambda text: None) -> None:
        self._address = read_address(settings.url)
        self.url = self._address.shown
        self.n_retries = 0
        self.dialect = Dialect()
        self._settings, self._notify = settings, notify
        remember(settings.api_key)
        self._any_success = False

    async def __aenter__(self) -> Self:
        headers = {"Content-Type": "application/json", **ENCODING}
        if self._settings.api_key:
            headers["Authorization"] = f"Bearer {self._settings.api_key}"
        n = self._settings.n_connections
        self._http = httpx2.AsyncClient(
            headers=headers,
            timeout=httpx2.Timeout(self._settings.timeout_s, connect=min(30.0, self._settings.timeout_s)),
            limits=httpx2.Limits(max_connections=n, max_keepalive_connections=n),
        )
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._http.aclose()

    async def models(self) -> tuple[str, ...]:
        """Return the names of the server's models. Raises `EndpointError` if there is no such server."""
        reply = await self._send("GET", "/models", None, patient=False)
        if reply.status in (401, 403):
            raise EndpointError(f"{self.url}: the server refuses the API key ({reply.status}); see --api-key-env")
        hint = "is this the address of an OpenAI-compatible API? It usually ends in /v1: http://127.0.0.1:8000/v1"
        if reply.failure is not None:
            raise EndpointError(f"{self.url}/models: {reply.failure}; {hint}")
        try:
            entries = json.loads(reply.body)["data"]
            return tuple(printable(str(entry["id"])) for entry in entries)
        except (ValueError, KeyError, TypeError, RecursionError):
            sent = "sent HTML, not" if reply.body.lstrip()[:1] == b"<" else "did not send"
            raise EndpointError(f"{self.url}/models: the server {sent} a list of models; {hint}") from None

    async def require(self, names: Sequence[str]) -> None:
        """Raise `EndpointError` with the models of the server unless it has all of `names`."""
        registered = await self.models()
        missing = [name for name in names if name not in registered]
        if missing:
            has = hide(", ".join(registered)) or "no model"
            raise EndpointError(f"{self.url}: {', '.join(missing)} is not registered; the server has {has}")

    async def chat(self, body: Mapping[str, Any]) -> Answer:
        """Return the answer to a chat-completion request. If the request fails, the answer has an `error`.

        Raises `EndpointError` if the very first request shows that the server has no such path.
        """
        reply = await self.send_chat(body)
        if reply.failure is None:
            self._any_success = True
            return read_answer(reply.body, latency_s=reply.latency_s, max_tokens=token_limit(body))
        if reply.status in (404, 405) and not self._any_success:
            raise EndpointError(f"{self.url}/chat/completions: {reply.failure}; is the address correct?")
        return Answer(error=reply.failure, latency_s=reply.latency_s)

    async def send_chat(self, body: Mapping[str, Any]) -> Reply:
        """Send a chat-completion request in the form that the server accepts, and return its reply."""
        return await self.dialect.converse(
            body, lambda shaped: self.post("/chat/completions", shaped), notify=self._notify
        )

    async def post(self, path: str, body: Mapping[str, Any]) -> Reply:
        """Post JSON to a path below the base address, with retries if they may help."""
        return await self._send("POST", path, json.dumps(body).encode())

    async def _send(self, method: str, path: str, content: bytes | None, *, patient: bool = True) -> Reply:
        n_failed = 0
        while True:
            started = time.monotonic()
            requested_s: float | None = None
            try:
                async with self._http.stream(method, self._address.at(path), content=content) as response:
                    read = await read_bounded(response, most_bytes=self._settings.max_answer_bytes)
            except (httpx2.HTTPError, httpx2.InvalidURL, ssl.SSLError) as error:
                reply = Reply(
                    None, b"", _transport_failure(error, self._settings.timeout_s), time.monotonic() - started
                )
                may_retry = patient and isinstance(error, httpx2.TransportError)
            else:
                failure = read.failure if response.is_success else _http_failure(response.status_code, read.content)
                reply = Reply(response.status_code, read.content, failure, time.monotonic() - started)
                may_retry = response.status_code in RETRIED_STATUS
                requested_s = retry_after_s(response.headers.get("Retry-After"))
            if not may_retry:
                return reply
            n_failed += 1
            wait_s = self._settings.retries.wait_s(n_failed, requested_s)
            if wait_s is None:
                return reply._replace(failure=f"{reply.failure} ({n_failed} attempts)")
            self.n_retries += 1
            await asyncio.sleep(wait_s)


def _transport_failure(error: Exception, timeout_s: float) -> str:
    if isinstance(error, httpx2.ConnectError):
        return hide(f"cannot connect: {error or 'connection refused'}")
    if isinstance(error, httpx2.TimeoutException):
        return f"no answer within {timeout_s:g} s"
    return hide(f"connection lost: {type(error).__name__}{f': {error}' if str(error) else ''}")


def _http_failure(status: int, body: bytes) -> str:
    text = _error_message(body)
    if status in (400, 413, 422) and _TOO_LONG.search(text):
        return f"context_too_long: {text}"
    return f"HTTP {status}: {text}" if text else f"HTTP {status}"


def _error_message(body: bytes) -> str:
    try:
        value = json.loads(body)
    except (ValueError, RecursionError):
        text = "an HTML page" if body.lstrip()[:1] == b"<" else body.decode("utf-8", "replace").strip()
    else:
        error = value.get("error", value) if isinstance(value, dict) else value
        message = error.get("message") if isinstance(error, dict) else None
        text = message if isinstance(message, str) else json.dumps(error, ensure_ascii=False)
    text = hide_headers(printable(text))  # before it is cut, which could cut a secret
    return text if len(text) <= _N_SHOWN else f"{text[:_N_SHOWN]}…"
