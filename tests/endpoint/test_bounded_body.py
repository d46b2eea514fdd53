"""The client reads an answer only up to a limit, so a server that sends gigabytes costs one turn and little memory."""

import asyncio
import gzip
import json
import resource
import socket
import threading
import time
import zlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress

import pytest

from tests.support.served import IMPATIENT
from tests.support.stub_server import completion
from trainer.endpoint import Answer, Endpoint, EndpointSettings
from trainer.errors import EndpointError

BODY = {"model": "base", "messages": [{"role": "user", "content": "Hello?"}]}
GOOD = json.dumps(completion(BODY, {"content": "Hello!"})).encode()
CHUNK = b"10000\r\n" + b" " * 2**16 + b"\r\n"


@contextmanager
def sending(*responses: Iterable[bytes]) -> Iterator[str]:
    """The address of a server that sends raw bytes, one response per connection, as long as the client reads."""
    listener = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        for response in responses:
            client, _ = listener.accept()
            with client, suppress(ConnectionError):
                client.recv(2**16)
                for piece in response:
                    client.sendall(piece)

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{listener.getsockname()[1]}/v1"
    thread.join(10)
    listener.close()
    assert not thread.is_alive()


def head(*lines: str, status: str = "200 OK") -> bytes:
    return "\r\n".join([f"HTTP/1.1 {status}", "Connection: close", *lines, "", ""]).encode()


def endless(*lines: str, status: str = "200 OK") -> Iterator[bytes]:
    yield head("Transfer-Encoding: chunked", *lines, status=status)
    for _ in range(2**16):  # 4 GiB
        yield CHUNK


def bomb() -> Iterator[bytes]:
    """Yield 256 MiB of zeros in 256 KiB."""
    packer = zlib.compressobj(9, wbits=31)
    packed = b"".join(packer.compress(bytes(2**20)) for _ in range(256)) + packer.flush()
    yield head("Content-Encoding: gzip")
    yield packed


def ask(url: str, n: int = 1) -> list[Answer]:
    async def run() -> list[Answer]:
        async with Endpoint(EndpointSettings(url, retries=IMPATIENT, timeout_s=20)) as endpoint:
            return [await endpoint.chat(BODY) for _ in range(n)]

    return asyncio.run(run())


def peak_mib() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10


@pytest.mark.parametrize("kind", ["chunked", "length", "gzip"])
def test_an_answer_of_gigabytes_is_an_error_of_its_turn_and_the_next_turn_is_answered(kind: str) -> None:
    def long() -> Iterator[bytes]:
        yield head(f"Content-Length: {2**32}")
        for _ in range(2**16):
            yield CHUNK[:-2]

    responses = {"chunked": endless, "length": long, "gzip": bomb}
    good = [head(f"Content-Length: {len(GOOD)}"), GOOD]
    before, started = peak_mib(), time.monotonic()
    with sending(responses[kind](), good) as url:
        answers = ask(url, 2)
    assert answers[0].error == "the answer is larger than 8 MiB; it was not read to its end"
    assert (answers[0].finish_reason, answers[1].content) == ("error", "Hello!")
    assert peak_mib() - before < 64
    assert time.monotonic() - started < 10


def test_an_error_message_of_gigabytes_is_cut() -> None:
    with sending(endless(status="400 Bad Request")) as url:
        (answer,) = ask(url)
    assert answer.error is not None
    assert answer.error.startswith("HTTP 400")
    assert len(answer.error) < 400


def test_a_list_of_models_of_gigabytes_is_an_error() -> None:
    async def models(url: str) -> None:
        async with Endpoint(EndpointSettings(url, retries=IMPATIENT)) as endpoint:
            await endpoint.models()

    with sending(endless()) as url, pytest.raises(EndpointError, match="larger than 8 MiB"):
        asyncio.run(models(url))


@pytest.mark.parametrize(
    ("encoding", "body"), [("gzip", gzip.compress(GOOD)), ("deflate", zlib.compress(GOOD)), ("identity", GOOD)]
)
def test_a_small_compressed_answer_is_read(encoding: str, body: bytes) -> None:
    with sending([head(f"Content-Encoding: {encoding}", f"Content-Length: {len(body)}"), body]) as url:
        (answer,) = ask(url)
    assert (answer.content, answer.error) == ("Hello!", None)


@pytest.mark.parametrize(
    ("encoding", "body", "said"),
    [("br", b"x", "compresses its answer (br)"), ("gzip", b"not gzip", "compressed answer is broken")],
)
def test_an_answer_that_cannot_be_decompressed_is_an_error(encoding: str, body: bytes, said: str) -> None:
    with sending([head(f"Content-Encoding: {encoding}", f"Content-Length: {len(body)}"), body]) as url:
        (answer,) = ask(url)
    assert said in (answer.error or "")
