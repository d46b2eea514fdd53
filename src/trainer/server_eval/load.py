"""Send requests to a server with a limited concurrency, and time the streams of the answers. Needs no torch.

Times are defined as in `vllm bench serve`: the first token is the first chunk of the stream, and the time per output
token is the rest of the stream divided by the number of other tokens.
"""

import asyncio
import json
import logging
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple

import httpx2
import numpy as np

from trainer.endpoint import Dialect, EndpointSettings, read_address
from trainer.endpoint.dialect import REFUSALS
from trainer.util.secrets import hide, hide_headers, remember

logger = logging.getLogger(__name__)

PERCENTILES = (50, 90, 99)


@dataclass(frozen=True, slots=True)
class Timing:
    """The times of one request, in seconds since it was sent; None if the stream did not get that far.

    `n_cached` are the prompt tokens that the server had in its prefix cache; None if it does not report them.
    """

    first_token_s: float | None
    total_s: float
    n_prompt: int | None
    n_output: int
    error: str | None
    n_cached: int | None = None

    @property
    def per_token_s(self) -> float | None:
        """Seconds per output token after the first; None for an answer of fewer than two tokens."""
        if self.first_token_s is None or self.n_output < 2:
            return None
        return (self.total_s - self.first_token_s) / (self.n_output - 1)


@dataclass(frozen=True, slots=True)
class LevelResult:
    """The results at one concurrency. Percentiles cover the requests without error; their keys are `p50`, `p90`, `p99`.

    Rates count only complete answers, over the time from the first request to the last answer. `prompt_tokens` and
    `cached_tokens` are None if an answer does not report them. `warm` holds the results of the same requests sent
    again, when the server may have their prompts in its cache.
    """

    concurrency: int
    n_requests: int
    n_errors: int
    errors: Mapping[str, int]
    seconds: float
    requests_per_s: float
    output_tokens_per_s: float
    prompt_tokens: int | None
    output_tokens: int
    first_token_s: Mapping[str, float | None]
    per_token_s: Mapping[str, float | None]
    latency_s: Mapping[str, float | None]
    cached_tokens: int | None = None
    warm: "LevelResult | None" = None

    @property
    def cached_share(self) -> float | None:
        """The share of the prompt tokens that the server had in its cache; None if it does not report them."""
        if self.cached_tokens is None or not self.prompt_tokens:
            return None
        return self.cached_tokens / self.prompt_tokens

    def to_json(self) -> dict[str, Any]:
        """Return plain values."""
        return asdict(self)


async def measure(
    settings: EndpointSettings,
    bodies: Sequence[Mapping[str, Any]],
    *,
    concurrency: int,
    dialect: Dialect | None = None,
    on_done: Callable[[int], None] = lambda n_requests: None,
) -> LevelResult:
    """Send all requests in order, at most `concurrency` at the same time, and return the results.

    `dialect` holds what is known about the server and learns from refusals. A refused request is sent again, and its
    time starts again.
    """
    spoken = Dialect() if dialect is None else dialect
    remember(settings.api_key)
    url = read_address(settings.url).at("/chat/completions")
    queue = iter(bodies)
    timings: list[Timing] = []
    headers = {"Authorization": f"Bearer {settings.api_key}"} if settings.api_key else {}
    limits = httpx2.Limits(max_connections=concurrency, max_keepalive_connections=concurrency)
    async with httpx2.AsyncClient(headers=headers, timeout=settings.timeout_s, limits=limits) as http:

        async def work() -> None:
            for body in queue:
                sent = await spoken.converse(body, lambda shaped: _time(http, url, shaped), notify=logger.warning)
                timings.append(sent.timing)
                on_done(1)

        started = time.perf_counter()
        async with asyncio.TaskGroup() as group:
            for _ in range(min(concurrency, len(bodies))):
                group.create_task(work())
        seconds = time.perf_counter() - started
    return level_result(timings, concurrency=concurrency, seconds=seconds)


def level_result(timings: Sequence[Timing], *, concurrency: int, seconds: float) -> LevelResult:
    """Return the rates and percentiles of requests that took `seconds` altogether."""
    done = [timing for timing in timings if timing.error is None]
    n_output = sum(timing.n_output for timing in done)
    return LevelResult(
        concurrency=concurrency,
        n_requests=len(timings),
        n_errors=len(timings) - len(done),
        errors=dict(Counter(timing.error for timing in timings if timing.error is not None)),
        seconds=round(seconds, 3),
        requests_per_s=round(len(done) / seconds, 3) if seconds else 0.0,
        output_tokens_per_s=round(n_output / seconds, 2) if seconds else 0.0,
        prompt_tokens=_sum([timing.n_prompt for timing in done]),
        output_tokens=n_output,
        first_token_s=_percentiles([timing.first_token_s for timing in done]),
        per_token_s=_percentiles([timing.per_token_s for timing in done]),
        latency_s=_percentiles([timing.total_s for timing in done]),
        cached_tokens=_sum([timing.n_cached for timing in done]),
    )


def _sum(counts: Sequence[int | None]) -> int | None:
    known = [n for n in counts if n is not None]
    return sum(known) if len(known) == len(counts) else None


def _percentiles(values: Sequence[float | None]) -> dict[str, float | None]:
    known = [value for value in values if value is not None]
    if not known:
        return {f"p{q}": None for q in PERCENTILES}
    return {f"p{q}": round(float(np.percentile(known, q)), 5) for q in PERCENTILES}


class _Timed(NamedTuple):
    timing: Timing
    refusal: str | None


async def _time(http: httpx2.AsyncClient, url: str, body: Mapping[str, Any]) -> _Timed:
    stream = _StreamTimes()
    refusal = None
    asked = {**body, "stream": True, "stream_options": {"include_usage": True}}
    try:
        async with http.stream("POST", url, json=asked) as response:
            if not response.is_success:
                text = hide_headers((await response.aread()).decode("utf-8", "replace"))
                stream.error = f"HTTP {response.status_code}: {text[:200]}"
                refusal = text if response.status_code in REFUSALS else None
            else:
                async for line in response.aiter_lines():
                    stream.read(line)
    except httpx2.HTTPError as error:
        stream.error = hide(f"{type(error).__name__}: {error}".rstrip(": "))
    return _Timed(stream.timing(), refusal)


class _StreamTimes:
    """Reads a stream of server-sent events and measures its times."""

    def __init__(self) -> None:
        self.error: str | None = None
        self._started = self._last = time.perf_counter()
        self._first: float | None = None
        self._usage: Mapping[str, Any] = {}
        self._n_chunks = 0
        self._finished = False

    def read(self, line: str) -> None:
        """Read one line of the stream."""
        if not line.startswith("data:") or self.error is not None:
            return
        data = line.removeprefix("data:").strip()
        if data == "[DONE]":
            return
        try:
            value = json.loads(data)
            choices = value.get("choices") or []
            choice = choices[0] if choices else {}
            delta = choice.get("delta") or {}
        except (ValueError, AttributeError, LookupError, TypeError):
            self.error = "a chunk of the stream is not a chat completion"
            return
        if value.get("error"):
            self.error = f"the stream reports an error: {hide_headers(json.dumps(value['error']))[:200]}"
            return
        self._usage = value.get("usage") or self._usage
        if choices:
            self._last = time.perf_counter()
            self._first = self._first or self._last
            self._n_chunks += bool(delta.get("content") or delta.get("tool_calls"))
            self._finished = self._finished or choice.get("finish_reason") is not None

    def timing(self) -> Timing:
        """Return what was measured; a stream without its end is an error."""
        if self.error is None and not self._finished:
            self.error = "the stream ended early" if self._first is not None else "the server sent no event stream"
        n_output = self._usage.get("completion_tokens")
        n_prompt = self._usage.get("prompt_tokens")
        details = self._usage.get("prompt_tokens_details")
        n_cached = details.get("cached_tokens") if isinstance(details, Mapping) else None
        return Timing(
            first_token_s=None if self._first is None else self._first - self._started,
            total_s=self._last - self._started,
            n_prompt=n_prompt if isinstance(n_prompt, int) else None,
            # Most servers send one token per chunk, so without a token count the chunks are counted.
            n_output=n_output if isinstance(n_output, int) else self._n_chunks,
            error=self.error,
            n_cached=n_cached if isinstance(n_cached, int) else None,
        )
