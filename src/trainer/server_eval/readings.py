"""Read a server's answers strictly and leniently, and compute format loss and latency."""

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, NamedTuple

import numpy as np

from trainer.endpoint import Answer
from trainer.endpoint.answer import parse_calls
from trainer.scoring.predictions import record_turn
from trainer.tool_calls import ToolCallFormat
from trainer.types import EvalTurn, ParsedCall, ParsedText, Prediction

LARGE_FORMAT_LOSS = 0.02
"""From this share on, advice names the remedy."""


class Reading(NamedTuple):
    """One answer, read twice.

    `strict` is what an application sees: only the tool calls that the server parsed. `lenient` also finds calls that
    the server left in the text. The difference is format loss.
    """

    strict: Prediction
    lenient: Prediction

    @property
    def n_lost_calls(self) -> int:
        """Calls that can be read in the text and that the server did not hand over."""
        return _n_ok(self.lenient) - _n_ok(self.strict)


def read_twice(turn: EvalTurn, answer: Answer, fmt: ToolCallFormat) -> Reading:
    """Return both readings of an answer.

    In the lenient one, the attempts that are still in the text come before the server's calls, as in the text of both.
    An attempt that the server also handed over counts once.
    """
    written, calls = parse_calls(answer.tool_calls, finish_reason=answer.finish_reason)
    begin = f"{answer.content}\n" if answer.content and written else answer.content
    shift = len(begin)
    calls = tuple(replace(call, start=call.start + shift, end=call.end + shift) for call in calls)
    text, ending = begin + written, answer.finish_reason
    strict = record_turn(turn, text, ParsedText(answer.content, calls), finish_reason=ending, error=answer.error)
    if ending == "error":
        return Reading(strict, strict)
    parsed = fmt.parse(answer.content, finished=ending != "length", tools=turn.tools)
    left = _without(parsed.calls, calls)
    return Reading(strict, replace(strict, content=parsed.content, calls=(*left, *calls)))


def _without(attempts: Sequence[ParsedCall], handed_over: Sequence[ParsedCall]) -> list[ParsedCall]:
    """Return the attempts in the text without those that the server also handed over, each at most once."""
    known = Counter(map(_identity, handed_over))
    left = []
    for attempt in attempts:
        same = _identity(attempt)
        if known[same]:
            known[same] -= 1
        else:
            left.append(attempt)
    return left


def _identity(call: ParsedCall) -> str:
    """Return a text that is equal for the same call. Malformed attempts of the same tool are the same."""
    arguments = call.arguments if call.status == "ok" else None
    return json.dumps([call.status == "ok", call.name, arguments], sort_keys=True)


def _n_ok(prediction: Prediction) -> int:
    return sum(call.status == "ok" for call in prediction.calls)


@dataclass(frozen=True, slots=True)
class FormatLoss:
    """How many answers have a call that reads well in the text and that the server did not hand over.

    `share` is `n_lost` / `n_calling`, the answers with any call that reads well, handed over or not; None if there are
    none. Lower is better. Malformed attempts and calls that the token limit cut are the model's, so they count in
    neither. A call that the server removed from its message altogether cannot be seen, so it is not counted.
    """

    n_lost: int
    n_calling: int
    vllm_parser: str | None

    @property
    def share(self) -> float | None:
        return self.n_lost / self.n_calling if self.n_calling else None

    def to_json(self) -> dict[str, Any]:
        """Return the loss as JSON values."""
        return {**asdict(self), "share": self.share}

    def advice(self) -> str | None:
        """Return what to do about a large loss; None if it is small."""
        if self.share is None or self.share < LARGE_FORMAT_LOSS:
            return None
        lost = (
            f"format loss: in {self.n_lost} of {self.n_calling} answers with calls, the server left a call in the text"
        )
        remedy = "serve with `tool-sft serve`, which passes this project's own parser"
        if self.vllm_parser is None:
            return f"{lost}; {remedy}, or read the text in the application"
        return f"{lost}; {remedy}, or pass --enable-auto-tool-choice --tool-call-parser {self.vllm_parser} to vLLM"


def format_loss(readings: Sequence[Reading], fmt: ToolCallFormat) -> FormatLoss:
    """Count the answers with calls that the server should have handed over and did not."""
    n_lost = sum(reading.n_lost_calls > 0 for reading in readings)
    return FormatLoss(n_lost, sum(_n_ok(reading.lenient) > 0 for reading in readings), fmt.vllm_parser)


def latency(answers: Sequence[Answer]) -> dict[str, float] | None:
    """Return percentiles of the seconds from request to answer, over the answers without error; None without any."""
    seconds = [answer.latency_s for answer in answers if answer.latency_s is not None and answer.error is None]
    if not seconds:
        return None
    return {f"p{q}": round(float(np.percentile(seconds, q)), 4) for q in (50, 90, 99)}


def total(counts: Sequence[int | None]) -> int | None:
    """Return the sum of the server's counts; None if it reported none."""
    known = [count for count in counts if count is not None]
    return sum(known) if known else None
