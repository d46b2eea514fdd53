"""Slow and silent clients, and clients that go away, never keep the server or its model from others."""

import socket
import threading
import time
import urllib.request
from contextlib import ExitStack, suppress
from typing import Any

import pytest

from tests.support.malformed_requests import CHAT
from tests.support.raw_http import connect, exchange, plain, post, read_response
from tests.support.tiny_runs import serving
from trainer.serving.local.engine import LocalEngine
from trainer.serving.local.service import LocalService

LONG = {**CHAT, "max_tokens": 250}


def answers_quickly(url: str, within_s: float = 3) -> bool:
    """Whether a list of models and a chat completion come in time."""
    started = time.monotonic()
    with urllib.request.urlopen(f"{url}/models", timeout=within_s) as response:
        assert response.status == 200
    assert exchange(url, post(CHAT), half_close=False).status == 200
    return time.monotonic() - started < within_s


SLOW = {
    "nothing": b"",
    "a head": plain("POST /v1/chat/completions HTTP/1.1", "Host: x"),
    "a body": post(CHAT),
    "an endless header": b"GET /v1/models HTTP/1.1\r\nx: " + b"y" * 1000,
}


@pytest.mark.parametrize("n_connections", [256, 60])
def test_a_hundred_slow_clients_do_not_delay_a_good_request(service: LocalService, n_connections: int) -> None:
    with serving(service, n_connections=n_connections) as url, ExitStack() as stack:
        n_threads = threading.active_count()
        slow = []
        for number in range(100):
            sock = stack.enter_context(connect(url))
            data = SLOW[list(SLOW)[number % len(SLOW)]]
            at = data.find(b"\r\n\r\n") + 4 if number % len(SLOW) == 2 else 0
            sock.sendall(data[:at])
            slow.append((sock, data, at))
        for second in range(3):
            for sock, data, at in slow:
                with suppress(ConnectionError):
                    sock.sendall(data[at + second : at + second + 1])
            assert answers_quickly(url)
            time.sleep(0.3)
        assert threading.active_count() - n_threads <= n_connections


def test_a_client_that_sends_a_byte_at_a_time_runs_out_of_time(service: LocalService) -> None:
    with serving(service, head_s=0.6, body_s=0.6, idle_s=0.3, linger_s=0.2) as url:
        for start in (plain("POST /v1/chat/completions HTTP/1.1")[:-2], post(CHAT)[:-200]):
            started = time.monotonic()
            with connect(url) as sock:
                sock.sendall(start)
                with suppress(ConnectionError):
                    for _ in range(20):
                        sock.sendall(b"x: 1\r\n"[:1])
                        time.sleep(0.05)
                found = read_response(sock)
            assert (found.status, found.value["error"]["code"]) == (408, 408)
            assert time.monotonic() - started < 3
        with connect(url) as silent:
            assert silent.recv(1) == b""


@pytest.mark.parametrize("streamed", [True, False])
@pytest.mark.parametrize("ending", ["close", "reset", "half"])
def test_an_answer_stops_when_its_client_is_gone(
    service: LocalService, monkeypatch: pytest.MonkeyPatch, streamed: bool, ending: str
) -> None:
    steps = _slow_steps(service, monkeypatch)
    with serving(service) as url:
        sock = connect(url)
        sock.sendall(post({**LONG, "stream": streamed}) + b"GET /v1/mod")  # the next request has begun
        _wait(lambda: len(steps) >= 5)
        if ending == "reset":
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\x00\x00\x00\x00\x00\x00\x00")
        sock.shutdown(socket.SHUT_WR) if ending == "half" else sock.close()
        n_steps = len(steps)
        _wait(lambda: not service.engine._line._line)
        assert len(steps) - n_steps < 30
        assert answers_quickly(url, within_s=10)
        sock.close()


def test_a_client_that_leaves_the_line_is_never_answered(
    service: LocalService, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps = _slow_steps(service, monkeypatch)
    line = service.engine._line._line
    with serving(service) as url, connect(url, 30) as first:
        first.sendall(post({**LONG, "max_tokens": 150}))
        _wait(lambda: len(steps) >= 2)
        others = [connect(url) for _ in range(5)]
        for sock in others:
            sock.sendall(post(LONG))
        _wait(lambda: len(line) == 6)
        for sock in others:
            sock.close()
        _wait(lambda: len(line) == 1)
        assert read_response(first).value["usage"]["completion_tokens"] > 10
        assert not line


def test_a_client_that_does_not_read_its_stream_does_not_hold_the_model(
    service: LocalService, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps = _slow_steps(service, monkeypatch, seconds=0)
    monkeypatch.setattr("trainer.serving.local.text_stream.text_chunk", lambda head, text: {"x": "x" * 2**20})
    with serving(service, backlog_bytes=2**16, write_s=20) as url, connect(url) as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        sock.sendall(post({**LONG, "stream": True, "tools": None}))
        _wait(lambda: steps)
        started = time.monotonic()
        assert exchange(url, post(CHAT), half_close=False).status == 200
        assert time.monotonic() - started < 3


def test_too_many_waiting_requests_are_refused_with_503(service: LocalService, monkeypatch: pytest.MonkeyPatch) -> None:
    _slow_steps(service, monkeypatch)
    with serving(service, n_connections=3) as url, ExitStack() as stack:
        for _ in range(3):
            stack.enter_context(connect(url)).sendall(post({**LONG, "max_tokens": 100}))
        _wait(lambda: len(service.engine._line._line) == 3)
        with connect(url) as sock:
            found = read_response(sock)
        assert (found.status, found.value["error"]["code"], found.headers["Retry-After"]) == (503, 503, "5")
    _wait(lambda: not service.engine._line._line)


def test_a_request_may_wait_for_permission_to_send_its_body(service: LocalService) -> None:
    head, _, body = post(CHAT, "Expect: 100-continue").partition(b"\r\n\r\n")
    with serving(service) as url, connect(url) as sock:
        sock.sendall(head + b"\r\n\r\n")
        assert sock.recv(2**16) == b"HTTP/1.1 100 Continue\r\n\r\n"
        sock.sendall(body)
        assert read_response(sock).status == 200


def _slow_steps(service: LocalService, monkeypatch: pytest.MonkeyPatch, seconds: float = 0.01) -> list[int]:
    """Make every step of the model take some time, and return the list of the steps."""
    steps: list[int] = []
    run = LocalEngine._run

    def slowly(self: LocalEngine, token_ids: Any, *others: Any) -> Any:
        steps.append(len(token_ids))
        time.sleep(seconds)
        return run(self, token_ids, *others)

    monkeypatch.setattr(LocalEngine, "_run", slowly)
    return steps


def _wait(done: Any, within_s: float = 10) -> None:
    end = time.monotonic() + within_s
    while not done():
        assert time.monotonic() < end
        time.sleep(0.01)
