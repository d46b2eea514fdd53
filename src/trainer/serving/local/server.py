"""A small OpenAI-compatible server for machines without a GPU and for tests. Not meant for production.

It has one process, gives one answer at a time while other requests wait, and has no batching and no authentication.
This module opens the address and starts a thread for each connection, in which `handler` answers its requests.
"""

import json
import logging
import socket
import sys
from contextlib import suppress
from http.server import ThreadingHTTPServer
from typing import Any

from trainer.errors import EndpointError
from trainer.serving.local.connections import Connections
from trainer.serving.local.handler import Handler
from trainer.serving.local.limits import Limits
from trainer.serving.local.request_error import RequestError, error_object
from trainer.serving.local.service import LocalService, load_service
from trainer.serving.plan import ServePlan
from trainer.training.finished_run import FinishedRun

logger = logging.getLogger(__name__)


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


def make_server(service: LocalService, *, host: str, port: int, limits: Limits | None = None) -> ThreadingHTTPServer:
    """Return a server that is bound but not yet running. Port 0 takes a free port. Raises `EndpointError`."""
    try:
        return _Server((host, port), service, limits or Limits())
    except OSError as error:
        raise EndpointError(f"cannot serve at {host}:{port}: {error.strerror}; choose another --port") from error


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128

    def __init__(self, address: tuple[str, int], service: LocalService, limits: Limits) -> None:
        kept = Connections(limits.n_connections)
        self._connections = kept

        class BoundHandler(Handler):
            pass

        BoundHandler.service, BoundHandler.connections, BoundHandler.limits = service, kept, limits
        super().__init__(address, BoundHandler)

    def process_request(self, request: Any, client_address: Any) -> None:
        """Start a thread for a connection, or refuse it if too many wait for answers."""
        request.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if self._connections.admit(request):
            super().process_request(request, client_address)
        else:
            _refuse(request)
            self.shutdown_request(request)

    def shutdown_request(self, request: Any) -> None:
        """Close a connection and forget it."""
        self._connections.remove(request)
        super().shutdown_request(request)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Log an unexpected error in one line."""
        error = sys.exc_info()[1]
        if not isinstance(error, OSError):
            logger.error(f"A connection failed: {type(error).__name__}: {error}")


def _refuse(sock: socket.socket) -> None:
    """Send status 503 without waiting for the client."""
    body = json.dumps(error_object(RequestError(503, "too many requests wait for an answer; try again later"))).encode()
    head = (
        "HTTP/1.1 503 Service Unavailable\r\nContent-Type: application/json\r\nRetry-After: 5\r\nConnection: close\r\n"
    )
    sock.setblocking(False)
    with suppress(OSError):
        sock.sendall(f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body)
        sock.shutdown(socket.SHUT_WR)
        sock.recv(2**16)
