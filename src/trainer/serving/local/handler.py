"""Answer the requests of one connection: reads them, finds what answers them, and writes what comes back as HTTP/1.1.

`service` answers the requests. A malformed request gets an error in OpenAI's form, and the connection is closed if the
end of the request is not certain.
"""

import json
import logging
import time
from collections.abc import Callable, Mapping
from email.utils import formatdate
from http import HTTPStatus
from socketserver import BaseRequestHandler
from typing import Any

from trainer.serving.local.connections import Connections
from trainer.serving.local.json_body import read_json_object
from trainer.serving.local.limits import Limits
from trainer.serving.local.peer import Peer
from trainer.serving.local.request_error import RequestError, error_object
from trainer.serving.local.request_head import RequestHead, read_head
from trainer.serving.local.service import LocalService

logger = logging.getLogger(__name__)

_MODEL = "/v1/models/"
_METHODS: Mapping[str, str] = {
    "/health": "GET",
    "/v1/models": "GET",
    f"{_MODEL}{{id}}": "GET",
    "/tokenize": "POST",
    "/v1/chat/completions": "POST",
}


class Handler(BaseRequestHandler):
    """One connection, in a thread of its own."""

    service: LocalService
    connections: Connections
    limits: Limits

    def handle(self) -> None:
        """Answer requests until the client hangs up, is too slow, or sends one whose end is not certain."""
        self._peer = Peer(self.request, self.limits)
        try:
            while self._peer.await_request() and self._handle_one():
                self.connections.wait_for_client(self.request)
        except (ConnectionError, TimeoutError):  # the client is gone, or does not read its answer
            return
        self.connections.wait_for_client(self.request)
        self._peer.linger()

    def _handle_one(self) -> bool:
        """Answer one request. Returns whether the connection stays open."""
        response = _Response(self._peer)
        try:
            head = self._read_head()
            response.answers(head)
            method = _method_of(head)
            n_bytes = head.n_body_bytes(most=self.limits.body_bytes, needed=method == "POST")
            body = b""
            if method == "POST":
                head.require_json()
                if head.expects_continue:
                    self._peer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
                body = self._peer.read_body(n_bytes)
            elif n_bytes:
                response.closes = True  # a body that nobody reads
            self.connections.begin_answer(self.request)
        except RequestError as error:
            response.closes = True
            response.send_error(error)
            return False
        self._answer(head, body, response)
        return not response.closes

    def _read_head(self) -> RequestHead:
        self._peer.allow(self.limits.head_s)
        try:
            return read_head(self._peer.file, most_bytes=self.limits.head_bytes)
        except TimeoutError:
            raise RequestError(408, f"the head of the request did not come within {self.limits.head_s:g} s") from None

    def _answer(self, head: RequestHead, body: bytes, response: "_Response") -> None:
        try:
            value = self._work(head, body, response)
            if value is not None:
                response.send(200, value)
            else:
                response.end_stream()
        except RequestError as error:
            response.send_error(error)
        except (ConnectionError, TimeoutError):
            raise
        except Exception as error:  # a bug, or out of memory: report it to the client; the log has the traceback
            logger.exception(f"{head.method} {_printable(head.path)} failed")
            response.closes = True
            if not response.is_streaming:
                response.send_error(RequestError(500, f"{type(error).__name__}: {error}"))

    def _work(self, head: RequestHead, body: bytes, response: "_Response") -> dict[str, Any] | None:
        if head.path.startswith(_MODEL):
            return self.service.model(head.path.removeprefix(_MODEL))
        simple: dict[str, Callable[[], dict[str, Any]]] = {
            "/health": lambda: {"status": "ok"},
            "/v1/models": self.service.models,
            "/tokenize": lambda: self.service.tokenize(read_json_object(body)),
        }
        if head.path in simple:
            return simple[head.path]()
        return self.service.complete(read_json_object(body), send=response)


def _method_of(head: RequestHead) -> str:
    """Return GET or POST, which the path takes. Raises `RequestError`."""
    path = f"{_MODEL}{{id}}" if head.path.startswith(_MODEL) else head.path
    if path not in _METHODS:
        known = ", ".join(_METHODS)
        raise RequestError(404, f"{head.method:.40} {head.path!r:.200}: there is no such path; known: {known}")
    allowed = _METHODS[path]
    if head.method != allowed and (head.method, allowed) != ("HEAD", "GET"):
        shown = "GET, HEAD" if allowed == "GET" else allowed
        raise RequestError(405, f"{path} takes {shown}, not {head.method:.40}", headers={"Allow": shown})
    return allowed


class _Response:
    """The response to one request: one JSON value, or a stream of events. The service sends the events with it."""

    def __init__(self, peer: Peer) -> None:
        self._peer = peer
        self._head: RequestHead | None = None
        self.closes = False
        self.is_streaming = False

    def answers(self, head: RequestHead) -> None:
        """Set the request that is answered."""
        self._head = head
        self.closes = not head.keeps_alive

    def send(self, status: int, value: Mapping[str, Any], headers: Mapping[str, str] | None = None) -> None:
        """Send a JSON value."""
        body = json.dumps(value).encode()
        known = {"Content-Type": "application/json", "Content-Length": str(len(body)), **(headers or {})}
        with_body = self._head is None or self._head.method != "HEAD"
        self._peer.write(self._start(status, known) + (body if with_body else b""))

    def send_error(self, error: RequestError) -> None:
        """Send a refusal."""
        self.send(error.status, error_object(error), error.headers)

    def check(self) -> None:
        """Raise `ConnectionError` if the client has hung up."""
        self._peer.check()

    def __call__(self, event: Mapping[str, Any]) -> None:
        """Send an event of a stream. Raises `ConnectionError` if the client is gone, or does not read."""
        start = b""
        if not self.is_streaming:
            self.is_streaming = True
            self.closes = self.closes or not self._is_chunked
            chunked = {"Transfer-Encoding": "chunked"} if self._is_chunked else {}
            start = self._start(200, {"Content-Type": "text/event-stream", "Cache-Control": "no-cache", **chunked})
        self._peer.write_soon(start + self._chunk(f"data: {json.dumps(event)}\n\n".encode()))

    def end_stream(self) -> None:
        """Send the end marker of the protocol."""
        self._peer.write(self._chunk(b"data: [DONE]\n\n") + (b"0\r\n\r\n" if self._is_chunked else b""))

    @property
    def _is_chunked(self) -> bool:
        return self._head is not None and self._head.version == "HTTP/1.1"  # older clients read to the end

    def _chunk(self, data: bytes) -> bytes:
        return f"{len(data):x}\r\n".encode() + data + b"\r\n" if self._is_chunked else data

    def _start(self, status: int, headers: Mapping[str, str]) -> bytes:
        line = self._head.line if self._head is not None else "(no request)"
        logger.info(f'{time.strftime("%H:%M:%S")} "{_printable(line):.200}" {status}')
        sent = {"Date": formatdate(usegmt=True), "Connection": "close" if self.closes else "keep-alive", **headers}
        lines = [
            f"HTTP/1.1 {status} {HTTPStatus(status).phrase}",
            *(f"{name}: {value}" for name, value in sent.items()),
        ]
        return "\r\n".join([*lines, "", ""]).encode("latin-1")


def _printable(text: str) -> str:
    """Escape what could change a terminal."""
    return text.encode("unicode_escape").decode("ascii")
