"""An OpenAI-compatible server that answers immediately from a table, and fails on demand. Runs no model.

`python -m tests.support.stub_server --port 8000 --answers answers.json` runs it alone; in tests, `StubServer` runs it
in a thread. Each answer is a function of the request, so every answer can be checked.

Implements just enough HTTP/1.1 (keep-alive, Content-Length) to be faster than the clients under test.
"""

import argparse
import asyncio
import contextlib
import json
import random
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

Fault = Literal[
    "rate_limit",
    "rate_limit_date",
    "server_error",
    "reset",
    "cut",
    "slow",
    "garbage",
    "truncated_json",
    "html",
    "no_choices",
    "null_message",
    "unknown_finish",
    "calls_missing",
    "bad_arguments",
    "nameless_call",
    "calls_not_a_list",
    "too_long",
    "length",
]
"""The possible faults of one request; see `_failing`."""

TRANSIENT: tuple[Fault, ...] = ("rate_limit", "rate_limit_date", "server_error", "reset", "cut", "slow")
"""Faults after which a client should retry."""


@dataclass(frozen=True, slots=True)
class Reply:
    """One HTTP response. Without `body`, the connection is reset; with `cut`, it ends in the middle of the body."""

    status: int = 200
    body: bytes | None = b""
    headers: Mapping[str, str] = field(default_factory=dict)
    kind: str = "application/json"
    delay_s: float = 0.0
    cut: bool = False


Answer = Callable[[dict[str, Any]], Mapping[str, Any]]
"""Returns the assistant's message (`content`, `tool_calls`) for a request's body."""

Plan = Callable[[dict[str, Any], int], Fault | None]
"""Returns the fault for a request's body and the number of earlier requests with this conversation."""


def key_of(body: Mapping[str, Any]) -> str:
    """Return what identifies the requested turn."""
    return json.dumps(body.get("messages"), sort_keys=True)


def say_hello(body: dict[str, Any]) -> Mapping[str, Any]:
    """Return the same answer to every request."""
    return {"content": "Hello!"}


def no_fault(body: dict[str, Any], n_before: int) -> Fault | None:
    """Return no fault."""
    return None


def completion(body: Mapping[str, Any], message: Mapping[str, Any], finish: str | None = None) -> dict[str, Any]:
    """Return a chat completion in OpenAI form."""
    reason = finish or ("tool_calls" if message.get("tool_calls") else "stop")
    whole = {"role": "assistant", "content": None, **message}
    usage = {"prompt_tokens": 100, "completion_tokens": 5, "total_tokens": 105}
    choice = {"index": 0, "message": whole, "finish_reason": reason}
    return {"id": "x", "object": "chat.completion", "model": body.get("model"), "choices": [choice], "usage": usage}


def wire_call(name: str, arguments: str, index: int = 0) -> dict[str, Any]:
    """Return a tool call as a server writes it."""
    return {"id": f"call_{index}", "type": "function", "function": {"name": name, "arguments": arguments}}


class StubServer:
    """Serves on a free port of the loopback interface, in its own thread, for the duration of the `with` block.

    `requests` counts the requests per conversation. `bodies` holds the request bodies in order.
    """

    def __init__(
        self,
        answer: Answer = say_hello,
        *,
        models: Sequence[str] = ("base", "carsales"),
        plan: Plan = no_fault,
        refuse: Callable[[dict[str, Any]], Reply | None] = lambda body: None,
        delay_s: float = 0.0,
        prefix: str = "/v1",
        api_key: str | None = None,
        port: int = 0,
    ) -> None:
        self.answer, self.models, self.plan, self.refuse = answer, tuple(models), plan, refuse
        self.delay_s, self.prefix, self.api_key, self.port = delay_s, prefix, api_key, port
        self.requests: Counter[str] = Counter()
        self.bodies: list[dict[str, Any]] = []
        self.n_open = self.most_open = 0
        self._ready = threading.Event()
        self._loop: asyncio.AbstractEventLoop | None = None

    @property
    def url(self) -> str:
        """The address for `--endpoint`."""
        return f"http://127.0.0.1:{self.port}{self.prefix}"

    def __enter__(self) -> "StubServer":
        self._thread = threading.Thread(target=lambda: asyncio.run(self.serve()), daemon=True)
        self._thread.start()
        assert self._ready.wait(10)
        return self

    def __exit__(self, *_: object) -> None:
        assert self._loop is not None
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(10)

    async def serve(self) -> None:
        """Serve until `stop` is set."""
        self._loop, self._stop = asyncio.get_running_loop(), asyncio.Event()
        server = await self._loop.create_server(lambda: _Connection(self), "127.0.0.1", self.port)
        self.port = server.sockets[0].getsockname()[1]
        self._ready.set()
        await self._stop.wait()
        server.close()

    def reply(self, method: str, path: str, headers: bytes, body: bytes) -> Reply:
        """Return the reply to one request."""
        if self.api_key is not None and f"authorization: bearer {self.api_key}".encode() not in headers.lower():
            return error(401, "invalid api key")
        if method == "GET" and path == f"{self.prefix}/models":
            models = [{"id": name, "object": "model"} for name in self.models]
            return Reply(body=json.dumps({"object": "list", "data": models}).encode())
        if method == "POST" and path == f"{self.prefix}/chat/completions":
            return self._complete(json.loads(body))
        return error(404, "Not Found")

    def _complete(self, body: dict[str, Any]) -> Reply:
        key = key_of(body)
        n_before = self.requests[key]
        self.requests[key] += 1
        self.bodies.append(body)
        refusal = self.refuse(body)
        if refusal is not None:
            return refusal
        if body.get("model") not in self.models:
            return error(404, f"The model `{body.get('model')}` does not exist.")
        fault = self.plan(body, n_before)
        if fault is not None:
            return _failing(fault, body)
        return Reply(body=json.dumps(completion(body, self.answer(body))).encode(), delay_s=self.delay_s)


def error(status: int, message: str, **headers: str) -> Reply:
    """Return an error in OpenAI form."""
    text = json.dumps({"error": {"message": message, "type": "error", "code": status}})
    return Reply(status, text.encode(), {name.replace("_", "-"): value for name, value in headers.items()})


def _failing(fault: Fault, body: Mapping[str, Any]) -> Reply:
    def ok(value: Any) -> Reply:
        return Reply(body=json.dumps(value).encode())

    hello = {"content": "Hello!"}
    bad = wire_call("search_inventory", '{"make": ')
    date = time.strftime("%a, %d %b %Y %H:%M:%S GMT", time.gmtime(time.time() + 1))
    replies: dict[Fault, Callable[[], Reply]] = {
        "rate_limit": lambda: error(429, "slow down", Retry_After="0.2"),
        "rate_limit_date": lambda: error(429, "slow down", Retry_After=date),
        "server_error": lambda: error(500, "out of luck"),
        "reset": lambda: Reply(body=None),
        "cut": lambda: Reply(body=json.dumps(completion(body, hello)).encode(), cut=True),
        "slow": lambda: Reply(body=json.dumps(completion(body, hello)).encode(), delay_s=30),
        "garbage": lambda: Reply(body=b"\x00\xff\xfe}{"),
        "truncated_json": lambda: Reply(body=json.dumps(completion(body, hello)).encode()[:-20]),
        "html": lambda: Reply(body=b"<html><body>Welcome</body></html>", kind="text/html"),
        "no_choices": lambda: ok({"id": "x", "choices": []}),
        "null_message": lambda: ok({"choices": [{"index": 0, "message": None, "finish_reason": "stop"}]}),
        "unknown_finish": lambda: ok(completion(body, hello, "banana")),
        "calls_missing": lambda: ok(completion(body, hello, "tool_calls")),
        "bad_arguments": lambda: ok(completion(body, {"tool_calls": [bad]})),
        "nameless_call": lambda: ok(completion(body, {"tool_calls": [{"id": "c", "function": {"arguments": "{}"}}]})),
        "calls_not_a_list": lambda: ok(completion(body, {"tool_calls": "search_inventory"})),
        "too_long": lambda: error(400, "This model's maximum context length is 4096 tokens, you asked for 5000."),
        "length": lambda: ok(completion(body, {"content": "Hello and"}, "length")),
    }
    return replies[fault]()


class _Connection(asyncio.Protocol):
    """One client connection: requests are read one after another and answered in order."""

    def __init__(self, server: StubServer) -> None:
        self._server, self._buffer = server, b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        end = self._buffer.find(b"\r\n\r\n")
        if end < 0:
            return
        head = self._buffer[:end]
        lines = head.split(b"\r\n")
        size = next((int(line[15:]) for line in lines if line[:15].lower() == b"content-length:"), 0)
        if len(self._buffer) < end + 4 + size:
            return
        body, self._buffer = self._buffer[end + 4 : end + 4 + size], self._buffer[end + 4 + size :]
        method, path, _ = lines[0].decode().split(" ", 2)
        reply = self._server.reply(method, path, head, body)
        self._server.n_open += 1
        self._server.most_open = max(self._server.most_open, self._server.n_open)
        if reply.delay_s:
            asyncio.get_running_loop().call_later(reply.delay_s, self._send, reply)
        else:
            self._send(reply)

    def _send(self, reply: Reply) -> None:
        self._server.n_open -= 1
        if self._transport.is_closing():
            return
        if reply.body is None:
            self._transport.abort()
            return
        extra = "".join(f"{name}: {value}\r\n" for name, value in reply.headers.items())
        size = len(reply.body)
        head = f"HTTP/1.1 {reply.status} X\r\nContent-Type: {reply.kind}\r\nContent-Length: {size}\r\n{extra}\r\n"
        body = reply.body[: size // 2] if reply.cut else reply.body
        self._transport.write(head.encode() + body)
        if reply.cut:
            self._transport.close()


def main() -> None:
    """Serve in the foreground; prints the address first."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--port", type=int, default=0, help="port (default: a free one)")
    parser.add_argument("--models", nargs="+", default=["base", "carsales"], help="registered model names")
    parser.add_argument("--delay", type=float, default=0.0, metavar="S", help="seconds before an answer (default: 0)")
    parser.add_argument("--answers", metavar="PATH", help="JSON object: last message's content → assistant message")
    parser.add_argument("--jitter", action="store_true", help="vary the delay between 0 and twice its value")
    args = parser.parse_args()
    table: dict[str, Any] = {}
    if args.answers:
        with open(args.answers, encoding="utf-8") as file:  # noqa: PTH123 - read once, at start
            table = json.load(file)

    def answer(body: dict[str, Any]) -> Mapping[str, Any]:
        if args.jitter:
            server.delay_s = args.delay * 2 * random.random()
        message: Mapping[str, Any] = table.get(body["messages"][-1].get("content") or "", {"content": "Hello!"})
        return message

    server = StubServer(answer, models=args.models, delay_s=args.delay, port=args.port)

    async def run() -> None:
        task = asyncio.create_task(server.serve())
        await asyncio.to_thread(server._ready.wait, 10)
        print(server.url, flush=True)
        await task

    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(run())


if __name__ == "__main__":
    main()
