"""Send raw bytes to a server and read its response, for requests that no HTTP client would send."""

import json
import socket
from collections.abc import Mapping
from http.client import HTTPResponse
from typing import Any, NamedTuple
from urllib.parse import urlsplit


class RawResponse(NamedTuple):
    """A response as it came. `value` is its JSON, or None if it has no body."""

    status: int
    headers: Mapping[str, str]
    text: str
    value: Any


def connect(url: str, timeout_s: float = 10) -> socket.socket:
    """Return a connection to the server at an address."""
    parts = urlsplit(url)
    assert parts.hostname is not None
    return socket.create_connection((parts.hostname, parts.port), timeout=timeout_s)


def read_response(sock: socket.socket, method: str = "POST") -> RawResponse:
    """Return the next response on a connection."""
    response = HTTPResponse(sock, method=method)
    response.begin()
    text = response.read().decode()
    is_json = response.headers.get("Content-Type") == "application/json" and text
    return RawResponse(response.status, dict(response.headers.items()), text, json.loads(text) if is_json else None)


def exchange(url: str, request: bytes, *, half_close: bool = True, method: str = "POST") -> RawResponse:
    """Send raw bytes on a new connection, end it unless `half_close` is false, and return the response."""
    with connect(url) as sock:
        sock.sendall(request)
        if half_close:
            sock.shutdown(socket.SHUT_WR)
        return read_response(sock, method)


def post(body: bytes | Mapping[str, Any], *headers: str, path: str = "/v1/chat/completions") -> bytes:
    """Return the bytes of a well-formed POST request."""
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    lines = [f"POST {path} HTTP/1.1", "Host: x", "Content-Type: application/json", f"Content-Length: {len(data)}"]
    return "\r\n".join([*lines, *headers, "", ""]).encode() + data


def plain(*lines: str, body: bytes = b"") -> bytes:
    """Return the bytes of a request from its lines."""
    return "\r\n".join([*lines, "", ""]).encode("latin-1") + body
