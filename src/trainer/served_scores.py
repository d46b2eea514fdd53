"""What the answers of a server come to: strict and lenient scores, format loss, agreement with training."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from trainer.endpoint import Answer
from trainer.endpoint.answer import parse_calls
from trainer.errors import DataError
from trainer.eval_metrics import Scores, read_predictions
from trainer.predictions import record_turn
from trainer.rates import RATES
from trainer.tool_calls import ToolCallFormat
from trainer.types import EvalTurn, ParsedText, Prediction

LARGE_FORMAT_LOSS = 0.02
"""Share of answers with calls that the server left as text, from which on the parser to use is named."""


class Reading(NamedTuple):
    """One answer, read twice.

    `strict` is what an application sees: the server's tool calls and nothing else. `lenient` also finds calls that
    the server left in the text. Their difference is format loss.
    """

    strict: Prediction
    lenient: Prediction


def read_twice(turn: EvalTurn, answer: Answer, fmt: ToolCallFormat) -> Reading:
    """Both readings of an answer."""
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
    """Answers whose calls the server left in the text.

    `share` is `n_lost` over `n_calling`, the answers with any attempt at a call; None where there is none.
    """

    n_lost: int
    n_calling: int
    vllm_parser: str | None

    @property
    def share(self) -> float | None:
        return self.n_lost / self.n_calling if self.n_calling else None

    def to_json(self) -> dict[str, Any]:
        """The loss as JSON values."""
        return {**asdict(self), "share": self.share}

    def advice(self) -> str | None:
        """What to do about a large loss."""
        if self.share is None or self.share < LARGE_FORMAT_LOSS:
            return None
        lost = f"format loss: {self.n_lost} of {self.n_calling} answers with calls came as plain text"
        if self.vllm_parser is None:
            return f"{lost}; no parser of vLLM reads this format, so the application has to read the text itself"
        return f"{lost}; serve with --enable-auto-tool-choice --tool-call-parser {self.vllm_parser} (vLLM)"


def format_loss(readings: Sequence[Reading], fmt: ToolCallFormat) -> FormatLoss:
    """How many answers lose their calls to a server that does not parse them."""
    n_lost = sum(bool(reading.lenient.calls) and not reading.strict.calls for reading in readings)
    return FormatLoss(n_lost, sum(bool(reading.lenient.calls) for reading in readings), fmt.vllm_parser)


@dataclass(frozen=True, slots=True)
class Agreement:
    """How served answers compare with those that were generated in process after training.

    Paired are turns on the same history. `n_identical` of them have the same prose and the same calls.
    `outside` names the rates that lie outside the 95% interval of the rate in training; it is None where the two
    judged different turns.
    """

    n_paired: int
    n_identical: int
    outside: tuple[str, ...] | None

    @property
    def identical_share(self) -> float | None:
        return self.n_identical / self.n_paired if self.n_paired else None

    def to_json(self) -> dict[str, Any]:
        """The agreement as JSON values."""
        return {**asdict(self), "identical_share": self.identical_share}

    def lines(self) -> list[str]:
        """The agreement for people."""
        if not self.n_paired:
            return ["in training: no turn was judged on the same history"]
        lines = [
            f"same answer as in training: {self.n_identical} of {self.n_paired} turns ({self.identical_share:.1%})"
        ]
        if self.outside is None:
            lines.append("the two did not judge the same turns, so their rates are not compared")
        else:
            named = ", ".join(self.outside)
            lines.append(
                f"outside the 95% interval of training: {named}"
                if named
                else "all rates lie in training's 95% intervals"
            )
        return lines


class InTraining(NamedTuple):
    """What the training run found out about its final state: metrics, and predictions where they are kept."""

    metrics: Mapping[str, Any]
    predictions: tuple[Prediction, ...]


def read_in_training(run: Path) -> InTraining | None:
    """The final state of the run in a folder; None where it has none."""
    try:
        final = json.loads((run / "metrics.json").read_text(encoding="utf-8"))["final"]
        metrics = dict(final)
    except (OSError, ValueError, KeyError, TypeError):
        return None
    try:
        predictions = tuple(read_predictions(run / "predictions" / "final.jsonl"))
    except DataError:
        predictions = ()
    return InTraining(metrics, predictions)


def agreement(served: Sequence[Prediction], scores: Scores, training: InTraining) -> Agreement:
    """Compare served answers, read leniently, with those of training."""
    before = {(p.session_id, p.turn, p.context_hash): p for p in training.predictions}
    pairs = [(p, before[key]) for p in served if (key := (p.session_id, p.turn, p.context_hash)) in before]
    same_turns = len(pairs) == len(served) == len(training.predictions)
    return Agreement(
        n_paired=len(pairs),
        n_identical=sum(_said(a) == _said(b) for a, b in pairs),
        outside=_outside(scores, training.metrics) if same_turns else None,
    )


def _said(prediction: Prediction) -> tuple[Any, ...]:
    calls = [(c.status, c.name, json.dumps(c.arguments, sort_keys=True)) for c in prediction.calls]
    return prediction.content.strip(), calls, prediction.finish_reason


def _outside(scores: Scores, training: Mapping[str, Any]) -> tuple[str, ...]:
    intervals = training.get("intervals") or {}
    outside = []
    for rate in RATES:
        value, interval = scores.metrics[rate.name], intervals.get(rate.name)
        if value is not None and interval and not interval[0] <= value <= interval[1]:
            outside.append(rate.name)
    return tuple(outside)


def latency(answers: Sequence[Answer]) -> dict[str, float] | None:
    """Percentiles of the seconds from request to answer, of the answers that came."""
    seconds = [answer.latency_s for answer in answers if answer.latency_s is not None and answer.error is None]
    if not seconds:
        return None
    return {f"p{q}": round(float(np.percentile(seconds, q)), 4) for q in (50, 90, 99)}


def total(counts: Sequence[int | None]) -> int | None:
    """The sum of what the server counted; None where it counted nothing."""
    known = [count for count in counts if count is not None]
    return sum(known) if known else None
