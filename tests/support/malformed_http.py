"""Requests that are not the HTTP that a chat-completion server takes, each with the status that it must get."""

import json
from collections.abc import Iterator

from tests.support.malformed_requests import CHAT, Malformed
from tests.support.raw_http import plain, post

PATH = "POST /v1/chat/completions HTTP/1.1"


def malformed_http() -> Iterator[Malformed]:
    """Yield all of them."""
    good = json.dumps(CHAT).encode()
    size = f"Content-Length: {len(good)}"
    for line in (
        "GET",
        "GET /v1/models",
        "GET  /v1/models HTTP/1.1",
        "GET /v1/models HTTP/1.1 x",
        "\x16\x03\x01\x02",
    ):
        yield Malformed(f"first line {line!r}", plain(line, "Host: x"))
    for line in ("GET /v1/models HTTP/2.0", "GET /v1/models HTTP/0.9", "GET /v1/models http/1.1", "PRI * HTTP/2.0"):
        yield Malformed(f"first line {line!r}", plain(line, "Host: x"))
    for line in ("GET /v1/m\xe4x HTTP/1.1", "GET /v1/models HTTP/1.1.1", "G@T /v1/models HTTP/1.1", "GET\t/ HTTP/1.1"):
        yield Malformed(f"first line {line!r}", plain(line, "Host: x"))
    yield Malformed("a long path", plain(f"GET /{'x' * 10**5} HTTP/1.1"), 414)
    for header in ("x", ": x", "a b: x", " folded: x", "Content-Length : 5", "x: \x00", "x: \x0b", "x\r: y", "x: a\rb"):
        yield Malformed(f"header {header!r}", plain(PATH, header, size, body=good))
    for length in ("-1", "+5", "1.5", "0x10", "5_0", "", "five", "5 5", "5, 5", "5,6", "\xb2", "1e3", "NaN"):
        yield Malformed(f"length {length!r}", plain(PATH, f"Content-Length: {length}", body=good))
    yield Malformed("two lengths", plain(PATH, size, "Content-Length: 5", body=good))
    for length in (str(4 * 2**20 + 1), str(2**40), "9" * 30, "9" * 5000):
        yield Malformed(f"length {length:.20}", plain(PATH, f"Content-Length: {length}", body=good), 413)
    yield Malformed("a body that ends early", plain(PATH, f"Content-Length: {len(good) + 5}", body=good))
    yield Malformed("a length that is too small", plain(PATH, "Content-Length: 5", body=good))
    yield Malformed("no length", plain(PATH, body=good), 411)
    yield Malformed("HTTP/1.0 without a length", plain(PATH.replace("1.1", "1.0"), body=good), 411)
    chunks = b"%x\r\n%s\r\n0\r\n\r\n" % (len(good), good)
    for coding in ("chunked", "gzip, chunked", "identity", "x"):
        yield Malformed(f"coding {coding}", plain(PATH, f"Transfer-Encoding: {coding}", body=chunks), 411)
    yield Malformed("both", plain(PATH, size, "Transfer-Encoding: chunked", body=chunks))
    for kind in (
        "text/plain",
        "application/xml",
        "multipart/form-data; boundary=x",
        "application/json; charset=latin1",
        "x",
    ):
        yield Malformed(f"type {kind}", plain(PATH, f"Content-Type: {kind}", size, body=good), 415)
    for coding in ("gzip", "br", "deflate"):
        yield Malformed(f"encoding {coding}", plain(PATH, f"Content-Encoding: {coding}", size, body=good), 415)
    yield Malformed("expectation", plain(PATH, "Expect: the unexpected", size, body=good), 417)
    for method in ("GET", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "CONNECT", "BREW", "post"):
        yield Malformed(f"method {method}", plain(PATH.replace("POST", method), size, body=good), 405)
    for path in ("/v1/models", "/health", "/v1/models/carsales"):
        yield Malformed(f"POST {path}", post(CHAT, path=path), 405)
    paths = (
        "/",
        "/v1",
        "/v1/chat",
        "/v1/chat/completions/",
        "//v1/chat/completions",
        "/v1/completions",
        "/v1/embeddings",
    )
    for path in (*paths, "/../etc/passwd", "/v1/%2e%2e/models", "/%00", "/%ff", "*", "x", "http://x", "/V1/models"):
        yield Malformed(f"path {path}", post(CHAT, path=path), 404)
    for name in ("gpt-4", "", "carsales/", "Carsales", "%ff", "%00", "..", "x" * 5000):
        yield Malformed(f"model {name:.20}", plain(f"GET /v1/models/{name} HTTP/1.1"), 404)
    yield Malformed("many headers", plain(PATH, *(f"x{n}: y" for n in range(2000)), size, body=good), 431)
    yield Malformed("a long header", plain(PATH, f"x: {'y' * 10**6}", size, body=good), 431)
    yield Malformed("a long name", plain(PATH, f"{'y' * 10**5}: x", size, body=good), 431)
    yield Malformed("an endless head", plain(PATH, *(f"x{n}: {'y' * 2000}" for n in range(90)), size, body=good), 431)
    yield Malformed("a head that ends early", PATH.encode() + b"\r\nHost: x\r\n")
    yield Malformed("a line that ends early", b"GET /v1/mod")
