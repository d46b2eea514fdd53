"""The open connections of the server. If there are too many, those that have sent no request for longest are closed."""

import socket
import threading
import time
from contextlib import suppress


class Connections:
    """A table of connections, used by all threads. An entry is the time since when the connection has been waiting for
    its client, or None while its request is answered.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._lock = threading.Lock()
        self._waiting_since: dict[socket.socket, float | None] = {}

    def admit(self, sock: socket.socket) -> bool:
        """Add a new connection. Returns False if there are too many, and all of them wait for answers."""
        with self._lock:
            if len(self._waiting_since) >= self._most and not self._close_one():
                return False
            self._waiting_since[sock] = time.monotonic()
        return True

    def wait_for_client(self, sock: socket.socket) -> None:
        """Note that the server has nothing to do for a connection."""
        self._note(sock, time.monotonic())

    def begin_answer(self, sock: socket.socket) -> None:
        """Note that a whole request has come."""
        self._note(sock, None)

    def remove(self, sock: socket.socket) -> None:
        """Forget a connection that is closed."""
        with self._lock:
            self._waiting_since.pop(sock, None)

    def _note(self, sock: socket.socket, since: float | None) -> None:
        with self._lock:
            if sock in self._waiting_since:
                self._waiting_since[sock] = since
            elif since is None:
                raise ConnectionAbortedError("the connection was closed for another one")

    def _close_one(self) -> bool:
        waiting = {sock: since for sock, since in self._waiting_since.items() if since is not None}
        if not waiting:
            return False
        oldest = min(waiting, key=lambda sock: waiting[sock])
        del self._waiting_since[oldest]
        with suppress(OSError):  # its thread notices the end of the connection
            oldest.shutdown(socket.SHUT_RDWR)
        return True
