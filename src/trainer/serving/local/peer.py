"""The socket of a client: reads with a deadline, writes that never hold up the model, and whether it is still there."""

import io
import select
import socket
import time
from contextlib import suppress
from typing import Any

from trainer.serving.local.limits import Limits
from trainer.serving.local.request_error import RequestError

_PIECE = 64 * 2**10
_READ_ENDED = getattr(select, "POLLRDHUP", 0)  # only Linux reports the end of a connection that has unread bytes


class Peer:
    """A client. Its methods raise `ConnectionError` or `TimeoutError` if it is gone or too slow."""

    def __init__(self, sock: socket.socket, limits: Limits) -> None:
        self._socket, self._limits = sock, limits
        self._raw = _TimedReader(sock)
        self._unsent = bytearray()
        self.file = io.BufferedReader(self._raw)

    def allow(self, seconds: float) -> None:
        """Set the time for everything that is read from now on."""
        self._raw.deadline = time.monotonic() + seconds

    def await_request(self) -> bool:
        """Wait for the first byte of a request. Returns False if none comes, or if the client hangs up."""
        self.allow(self._limits.idle_s)
        with suppress(TimeoutError):
            return bool(self.file.peek(1))
        return False

    def read_body(self, n_bytes: int) -> bytes:
        """Return a body of that size. Raises `RequestError` if it does not come in time, or ends early."""
        self.allow(self._limits.body_s)
        body = bytearray()
        while len(body) < n_bytes:
            try:
                piece = self.file.read1(min(_PIECE, n_bytes - len(body)))
            except TimeoutError:
                raise RequestError(
                    408, f"{len(body)} of {n_bytes} bytes of the body came within {self._limits.body_s:g} s"
                ) from None
            if not piece:
                raise RequestError(400, f"the body ends after {len(body)} of the {n_bytes} bytes in Content-Length")
            body += piece
        return bytes(body)

    def write(self, data: bytes) -> None:
        """Send all bytes."""
        self._unsent += data
        self._socket.settimeout(self._limits.write_s)
        self._socket.sendall(self._unsent)
        self._unsent.clear()

    def write_soon(self, data: bytes) -> None:
        """Send what the client takes at once, and keep the rest for the next call or for `write`."""
        self._unsent += data
        self._socket.setblocking(False)
        with suppress(BlockingIOError):
            while self._unsent:
                del self._unsent[: self._socket.send(self._unsent[:_PIECE])]
        if len(self._unsent) > self._limits.backlog_bytes:
            raise ConnectionAbortedError("the client does not read its answer")

    def check(self) -> None:
        """Raise `ConnectionAbortedError` if the client has hung up."""
        if self._is_gone():
            raise ConnectionAbortedError("the client is gone")

    def linger(self) -> None:
        """End the answer and read the rest of the request. Closing a socket with unread bytes loses the answer."""
        with suppress(OSError):
            self._socket.shutdown(socket.SHUT_WR)
            self.allow(self._limits.linger_s)
            while self._raw.read(_PIECE):
                pass

    def _is_gone(self) -> bool:
        if _READ_ENDED:
            poller = select.poll()
            poller.register(self._socket, _READ_ENDED)
            return bool(poller.poll(0))
        self._socket.setblocking(False)
        try:
            return not self._socket.recv(1, socket.MSG_PEEK)
        except BlockingIOError:
            return False
        except OSError:
            return True


class _TimedReader(io.RawIOBase):
    """Reads from a socket until a deadline. A timeout of the socket alone would start again with every byte."""

    def __init__(self, sock: socket.socket) -> None:
        self._socket = sock
        self.deadline = 0.0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        left_s = self.deadline - time.monotonic()
        if left_s <= 0:
            raise TimeoutError
        self._socket.settimeout(left_s)
        return self._socket.recv_into(buffer)
