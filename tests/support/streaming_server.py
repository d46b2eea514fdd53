"""A server that streams answers at a known pace, caches whole prompts, or fails on demand. Knows no client."""

import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, ClassVar, Literal

FIRST_S, NEXT_S, N_TOKENS, N_CACHED = 0.05, 0.02, 6, 96
_NO_PARSER = b'{"error": {"message": "requires --enable-auto-tool-choice and --tool-call-parser"}}'


@contextmanager
def streaming(fault: str = "", *, cache: Literal["", "salted", "plain"] = "") -> Iterator[Any]:
    """Streams six tokens with known pauses, or fails in the given way.

    With a cache, a prompt that was sent before needs no time to its first token, and cached tokens are reported.
    A `salted` cache keeps the values of `cache_salt` apart, a `plain` one ignores them.
    """

    class Handler(BaseHTTPRequestHandler):
        open_now = most_open = n_asked = n_refused = 0
        lock = threading.Lock()
        seen: ClassVar[set[str]] = set()

        def do_GET(self) -> None:
            self._answer(200, b'{"data": [{"id": "carsales"}]}')

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            assert body["stream"] is True
            with self.lock:
                Handler.n_asked += 1
                Handler.open_now += 1
                Handler.most_open = max(Handler.most_open, Handler.open_now)
            if fault == "no parser" and body.get("tools") and body.get("tool_choice") != "none":
                Handler.n_refused += 1
                self._answer(400, _NO_PARSER)
            elif fault == "status":
                self._answer(503, b"busy")
            elif fault == "no salt" and "cache_salt" in body:
                Handler.n_refused += 1
                self._answer(400, b'{"error": {"message": "cache_salt: extra fields are not permitted"}}')
            else:
                self._stream(self._is_cached(body))
            with self.lock:
                Handler.open_now -= 1

        def _answer(self, status: int, body: bytes) -> None:
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def _is_cached(self, body: Any) -> bool:
            key = json.dumps([body["messages"], body.get("cache_salt") if cache == "salted" else None])
            with self.lock:
                was_seen = key in Handler.seen
                Handler.seen.add(key)
            return bool(cache) and was_seen

        def _stream(self, is_cached: bool) -> None:
            self.send_response(200)
            self.end_headers()
            time.sleep(0 if is_cached else FIRST_S)
            for index in range(N_TOKENS):
                if index:
                    time.sleep(NEXT_S)
                self._send("{" if fault == "garbage" else {"choices": [{"delta": {"content": "a"}}]})
                if fault == "cut" and index == 2:
                    return
            self._send({"choices": [{"delta": {}, "finish_reason": "stop"}]})
            details = {"prompt_tokens_details": {"cached_tokens": N_CACHED * is_cached}} if cache else {}
            usage = {"prompt_tokens": 100, "completion_tokens": N_TOKENS, **details}
            self._send({"choices": [], "usage": usage})
            self.wfile.write(b"data: [DONE]\n\n")

        def _send(self, value: Any) -> None:
            text = value if isinstance(value, str) else json.dumps(value)
            self.wfile.write(f"data: {text}\n\n".encode())
            self.wfile.flush()

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/v1", Handler
    finally:
        server.shutdown()
        server.server_close()
