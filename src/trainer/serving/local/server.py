"""A small OpenAI-compatible server for machines without a GPU and for tests. Not meant for production.

It has one process, gives one answer at a time while other requests wait, and has no batching and no authentication.
This module handles HTTP only; `service` answers the requests.
"""

import json
import logging
import sys
import time
from collections.abc import Callable, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from trainer.errors import EndpointError
from trainer.serving.local.requests import RequestError, read_json_object
from trainer.serving.local.service import LocalService, load_service
from trainer.serving.plan import ServePlan
from trainer.training.finished_run import FinishedRun

logger = logging.getLogger(__name__)

_LARGEST_BODY = 16 * 2**20


def serve_run(run: FinishedRun, plan: ServePlan, *, host: str, port: int) -> None:
    """Load a run and serve it until interrupted. Raises `EndpointError` if the address is in use."""
    server = make_server(load_service(run, plan), host=host, port=port)
    names = " and ".join(plan.names)
    address = f"http://{host}:{server.server_port}/v1"
    logger.info(f"Serving {names} at {address}, one answer at a time (Ctrl-C stops)")
    try:
        server.serve_forever()
    finally:
        server.server_close()


def make_server(service: LocalService, *, host: str, port: int) -> ThreadingHTTPServer:
    """Return a server that is bound but not yet running. Port 0 takes a free port. Raises `EndpointError`."""

    class Handler(_Handler):
        pass

    Handler.service = service
    try:
        return _Server((host, port), Handler)
    except OSError as error:
        raise EndpointError(f"cannot serve at {host}:{port}: {error.strerror}; choose another --port") from error


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Log nothing about clients that hang up between two requests."""
        if not isinstance(sys.exc_info()[1], ConnectionError):
            super().handle_error(request, client_address)


class _Handler(BaseHTTPRequestHandler):
    """One connection. Errors have the same form as OpenAI's."""

    service: LocalService
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def do_GET(self) -> None:
        routes = {"/v1/models": self.service.models, "/health": lambda: {"status": "ok"}}
        self._answer(lambda: self._find(routes)())

    def do_POST(self) -> None:
        body = self._body()
        if body is None:
            return
        stream = _EventStream(self)
        routes: dict[str, Callable[[dict[str, Any]], dict[str, Any] | None]] = {
            "/tokenize": self.service.tokenize,
            "/v1/chat/completions": lambda request: self.service.complete(request, send=stream.send),
        }
        self._answer(lambda: self._find(routes)(read_json_object(body)), stream=stream)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002, the base class has this name
        """Log one line per request, with its time."""
        logger.info(f"{time.strftime('%H:%M:%S')} {format % args}")

    def _find(self, routes: Mapping[str, Callable[..., Any]]) -> Callable[..., Any]:
        path = self.path.partition("?")[0]
        if path not in routes:
            raise RequestError(404, f"{self.command} {path}: there is no such path; known: {', '.join(routes)}")
        return routes[path]

    def _body(self) -> bytes | None:
        length = self.headers.get("Content-Length", "")
        if not length.isdigit() or int(length) > _LARGEST_BODY:
            self.close_connection = True
            if length.isdigit():
                self._send_error(
                    RequestError(413, f"the request has {length} bytes; at most {_LARGEST_BODY} are allowed")
                )
            else:
                self._send_error(RequestError(411, "the request needs a Content-Length header in bytes"))
            return None
        return self.rfile.read(int(length))

    def _answer(self, work: Callable[[], dict[str, Any] | None], *, stream: "_EventStream | None" = None) -> None:
        try:
            response = work()
            if response is not None:
                self._send_json(200, response)
            elif stream is not None:
                stream.close()
        except RequestError as error:
            self._send_error(error)
        except ConnectionError:  # the client is gone
            self.close_connection = True
        except Exception as error:  # a bug, or out of memory: report it to the client; the log has the traceback
            logger.exception(f"{self.command} {self.path} failed")
            self.close_connection = True
            if stream is None or not stream.opened:
                self._send_error(RequestError(500, f"{type(error).__name__}: {error}"))

    def _send_error(self, error: RequestError) -> None:
        kind = {404: "NotFoundError", 500: "InternalServerError"}.get(error.status, "BadRequestError")
        self._send_json(error.status, {"error": {"message": str(error), "type": kind, "code": error.status}})

    def _send_json(self, status: int, value: Mapping[str, Any]) -> None:
        body = json.dumps(value).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


class _EventStream:
    """Server-sent events on a connection. Nothing is written before the first one."""

    def __init__(self, handler: _Handler) -> None:
        self._handler = handler
        self.opened = False

    def send(self, value: Mapping[str, Any]) -> None:
        """Send one event."""
        if not self.opened:
            self.opened = True
            self._handler.send_response(200)
            self._handler.send_header("Content-Type", "text/event-stream")
            self._handler.send_header("Transfer-Encoding", "chunked")
            self._handler.end_headers()
        self._write(f"data: {json.dumps(value)}\n\n".encode())

    def close(self) -> None:
        """Send the end marker of the protocol."""
        self._write(b"data: [DONE]\n\n")
        self._handler.wfile.write(b"0\r\n\r\n")

    def _write(self, data: bytes) -> None:
        self._handler.wfile.write(f"{len(data):x}\r\n".encode() + data + b"\r\n")
        self._handler.wfile.flush()
