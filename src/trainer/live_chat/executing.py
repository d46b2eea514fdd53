"""Run the calls of a live conversation with the domain's simulator, if it has one. Asks nobody."""

import json
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any

from trainer.config import Config
from trainer.data.domains import load_domain
from trainer.types import Call, Message

Executor = Callable[[str, Mapping[str, Any]], Any]
"""Runs a tool by name with its arguments, and returns a JSON value; `{"error": …}` if it refuses."""

SKIPPED = '{"error":"not available"}'
"""The result of a call that nobody answers."""


class ToolRunner:
    """The tools of one conversation, with their state, such as the bookings so far.

    `make` returns new tools at a moment; None if the domain's package has no `make_tool_executor(cfg, *, now)`.
    """

    def __init__(self, make: Callable[[datetime], Executor] | None) -> None:
        self._make = make
        self._run: Executor | None = None

    @property
    def can_run(self) -> bool:
        """Whether calls are run. Otherwise somebody has to say what a tool returns."""
        return self._make is not None

    def begin(self, now: datetime, messages: Sequence[Message] = ()) -> None:
        """Begin at a moment, and make the calls of a conversation again, so the tools are in the state after it."""
        if self._make is None:
            return
        self._run = self._make(now)
        for message in messages:
            for call in message.get("tool_calls") or ():
                self.run(Call(call["function"]["name"], dict(call["function"]["arguments"])))

    def run(self, call: Call) -> str:
        """Return the result of a call as a tool message holds it. If the domain's code fails, that is the result."""
        assert self._run is not None, "begin comes first"
        try:
            return result_text(self._run(call.name, call.arguments))
        except Exception as error:  # the domain's own code, which can fail in any way
            return result_text({"error": f"{type(error).__name__}: {error}"})


def tool_runner(cfg: Config) -> ToolRunner:
    """Return the tools of the configured domain. Raises `ConfigError` if its package cannot be imported."""
    make = getattr(load_domain(cfg), "make_tool_executor", None)
    return ToolRunner((lambda now: make(cfg, now=now)) if callable(make) else None)


def result_text(value: Any) -> str:
    """Return a result as compact JSON; text stays as it is. Raises `TypeError` or `ValueError` for other values.

    >>> result_text({"cars": [], "town": "Zürich"}), result_text("sold")
    ('{"cars":[],"town":"Zürich"}', 'sold')
    """
    if isinstance(value, str):
        return value
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False)


def typed_result(text: str) -> str:
    """Return the result that somebody typed: JSON in compact form, any other text as it is, nothing as `SKIPPED`."""
    if not text.strip():
        return SKIPPED
    try:
        return result_text(json.loads(text))
    except (ValueError, RecursionError):
        return text.strip()
