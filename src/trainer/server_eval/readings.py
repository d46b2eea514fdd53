"""Read a server's answers strictly and leniently, and compute format loss and latency."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, NamedTuple

import numpy as np

from trainer.endpoint import Answer
from trainer.endpoint.answer import parse_calls
from trainer.scoring.predictions import record_turn
from trainer.tool_calls import ToolCallFormat
from trainer.types import EvalTurn, ParsedText, Prediction

LARGE_FORMAT_LOSS = 0.02
"""From this share on, advice names the parser to use."""


class Reading(NamedTuple):
    """One answer, read twice.

    `strict` is what an application sees: only the tool calls that the server parsed. `lenient` also finds calls that
    the server left in the text. The difference is format loss.
    """

    strict: Prediction
    lenient: Prediction


def read_twice(turn: EvalTurn, answer: Answer, fmt: ToolCallFormat) -> Reading:
    """Return both readings of an answer."""
    written, calls = parse_calls(answer.tool_calls, finish_reason=answer.finish_reason)
    begin = f"{answer.content}\n" if answer.content and written else answer.content
    shift = len(begin)
    calls = tuple(replace(call, start=call.start + shift, end=call.end + shift) for call in calls)
    text, ending = begin + written, answer.finish_reason
    strict = record_turn(turn, text, ParsedText(answer.content, calls), finish_reason=ending, error=answer.error)
    if calls or ending == "error":
        return Reading(strict, strict)
    parsed = fmt.parse(answer.content, finished=ending != "length", tools=turn.tools)
    return Reading(strict, replace(strict, content=parsed.content, calls=parsed.calls))


@dataclass(frozen=True, slots=True)
class FormatLoss:
    """How many answers have calls that the server left in the text.

    `share` is `n_lost` / `n_calling`, the answers with any attempt at a call; None if there are none.
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
        lost = f"format loss: {self.n_lost} of {self.n_calling} answers with calls arrived as plain text"
        if self.vllm_parser is None:
            return f"{lost}; vLLM has no parser for this format, so the application must read the text itself"
        return f"{lost}; serve with --enable-auto-tool-choice --tool-call-parser {self.vllm_parser} (vLLM)"


def format_loss(readings: Sequence[Reading], fmt: ToolCallFormat) -> FormatLoss:
    """Count the answers whose calls the server did not parse."""
    n_lost = sum(bool(reading.lenient.calls) and not reading.strict.calls for reading in readings)
    return FormatLoss(n_lost, sum(bool(reading.lenient.calls) for reading in readings), fmt.vllm_parser)


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
