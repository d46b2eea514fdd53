"""Read the head of an HTTP/1 request: its first line and its headers. Lenient in nothing that could hide a body."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from io import BufferedIOBase
from urllib.parse import unquote

from trainer.serving.local.request_error import RequestError

_MOST_HEADERS = 100
_TOKEN = r"[!#$%&'*+.^_`|~0-9A-Za-z-]+"
_FIRST_LINE = re.compile(rf"({_TOKEN}) ([\x21-\x7e]+) (HTTP/[0-9]\.[0-9])")
_HEADER = re.compile(rf"({_TOKEN}):[ \t]*([\t\x20-\x7e\x80-\xff]*?)[ \t]*")
_JSON_TYPES = ("application/json", "application/x-www-form-urlencoded")  # the second is what `curl -d` sends unasked
_LONGEST_LENGTH = 18  # digits


@dataclass(frozen=True, slots=True)
class RequestHead:
    """The first line and the headers of a request. `path` has no query; names of `headers` are in lower case."""

    line: str
    method: str
    path: str
    version: str
    headers: Mapping[str, str]

    @property
    def keeps_alive(self) -> bool:
        """Whether the client may send another request on the connection."""
        options = {option.strip().lower() for option in self.headers.get("connection", "").split(",")}
        return "close" not in options and (self.version == "HTTP/1.1" or "keep-alive" in options)

    @property
    def expects_continue(self) -> bool:
        """Whether the client waits for permission to send the body. Raises `RequestError` if it waits for more."""
        expected = self.headers.get("expect", "").lower()
        if expected not in ("", "100-continue"):
            raise RequestError(417, "Expect: only 100-continue is supported")
        return bool(expected) and self.version == "HTTP/1.1"

    def n_body_bytes(self, *, most: int, needed: bool) -> int:
        """Return the size of the body; 0 if there is none and none is needed. Raises `RequestError`."""
        value = self.headers.get("content-length")
        if "transfer-encoding" in self.headers:
            if value is not None:
                raise RequestError(400, "a request cannot have both Content-Length and Transfer-Encoding")
            raise RequestError(411, "a chunked body is not supported; send a Content-Length header in bytes")
        if value is None:
            if needed:
                raise RequestError(411, "the request needs a Content-Length header in bytes")
            return 0
        if not re.fullmatch("[0-9]+", value):
            raise RequestError(400, f"Content-Length is {value!r:.80}; it must be a number of bytes")
        if len(value.lstrip("0")) > _LONGEST_LENGTH or int(value) > most:
            raise RequestError(413, f"the request has {value:.40} bytes; at most {most} are allowed")
        return int(value)

    def require_json(self) -> None:
        """Raise `RequestError` if the body has another type than JSON, or is compressed."""
        kind, _, rest = self.headers.get("content-type", "").lower().partition(";")
        if kind.strip() and kind.strip() not in _JSON_TYPES:
            raise RequestError(415, f"Content-Type is {kind!r:.80}; send application/json")
        charset = re.search(r'charset\s*=\s*"?([^\s;"]*)', rest)
        if charset is not None and charset[1] not in ("utf-8", "utf8", "us-ascii"):
            raise RequestError(415, f"the charset is {charset[1]!r:.80}; send JSON in utf-8")
        if self.headers.get("content-encoding", "identity").lower() != "identity":
            raise RequestError(415, "Content-Encoding is not supported; send the body uncompressed")


def read_head(file: BufferedIOBase, *, most_bytes: int) -> RequestHead:
    """Return the head of the next request. Raises `RequestError`, or `TimeoutError` if the file does."""
    lines: list[str] = []
    n_left = most_bytes
    while True:
        line = file.readline(n_left)
        n_left -= len(line)
        if not line.endswith(b"\n"):
            if n_left > 0:
                raise RequestError(400, "the request ends in the middle of its head")
            raise RequestError(431 if lines else 414, f"the head of a request may have at most {most_bytes} bytes")
        text = line.decode("latin-1").rstrip("\n").removesuffix("\r")
        if text:
            lines.append(text)
        elif lines:
            return _parsed(lines)
        if len(lines) > _MOST_HEADERS + 1:
            raise RequestError(431, f"a request may have at most {_MOST_HEADERS} headers")


def _parsed(lines: list[str]) -> RequestHead:
    first = _FIRST_LINE.fullmatch(lines[0])
    if first is None:
        raise RequestError(400, f"the request begins with {lines[0]!r:.80}; this server speaks HTTP/1.1")
    method, target, version = first.groups()
    if not version.startswith("HTTP/1."):
        raise RequestError(400, f"{version} is not supported; this server speaks HTTP/1.1")
    headers: dict[str, str] = {}
    for line in lines[1:]:
        found = _HEADER.fullmatch(line)
        if found is None:
            raise RequestError(400, f"the header line {line!r:.80} must look like 'Name: value'")
        name = found[1].lower()
        headers[name] = f"{headers[name]}, {found[2]}" if name in headers else found[2]
    path = re.sub(r"^https?://[^/?#]*", "", target, flags=re.I)
    return RequestHead(lines[0], method, unquote(re.split("[?#]", path)[0] or "/"), version, headers)
