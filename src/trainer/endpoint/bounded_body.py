"""Read the body of a response up to a limit, however much the server sends. Holds little more than the limit."""

import zlib
from typing import NamedTuple

import httpx2

ENCODING = {"Accept-Encoding": "identity"}
"""The header of requests whose answers should come uncompressed. Some gateways compress them all the same."""

_ZLIB_OR_GZIP = zlib.MAX_WBITS | 32


class BoundedBody(NamedTuple):
    """The beginning of a body. `failure` is why it is not the whole one, or None."""

    content: bytes
    failure: str | None = None


async def read_bounded(response: httpx2.Response, *, most_bytes: int) -> BoundedBody:
    """Return the body of a streamed response, decompressed. Reads no more than needed to see that it is too large."""
    encoding = response.headers.get("Content-Encoding", "identity").strip().lower()
    if encoding not in ("identity", "", "gzip", "deflate"):
        return BoundedBody(b"", f"the server compresses its answer ({encoding:.40}), although it was asked not to")
    inflater = zlib.decompressobj(_ZLIB_OR_GZIP) if encoding in ("gzip", "deflate") else None
    body = bytearray()
    async for piece in response.aiter_raw():
        try:
            body += piece if inflater is None else inflater.decompress(piece, most_bytes + 1 - len(body))
        except zlib.error as error:
            return BoundedBody(bytes(body), f"the server's compressed answer is broken: {error}")
        if len(body) > most_bytes:
            failure = f"the answer is larger than {most_bytes / 2**20:g} MiB; it was not read to its end"
            return BoundedBody(bytes(body[:most_bytes]), failure)
    return BoundedBody(bytes(body))
