"""Score tool calls: predictions in, metrics with intervals out, and perplexity from summed loss.

The one scorer for generation in process, a served model and saved predictions. Runs no model and knows no format;
what each metric means is in `trainer.rates`, how a turn is judged in `trainer.turns`.
"""

import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any, get_args

import numpy as np

from trainer.errors import DataError
from trainer.intervals import session_intervals
from trainer.predictions import (
    context_hash,
    make_prediction,
    read_predictions,
    read_tools,
    write_predictions,
)
from trainer.rates import RATES, rates
from trainer.tool_specs import SchemaProblem, ToolSpecs
from trainer.turns import MALFORMED, NO_CALL, Counts, Decision, GoldDecision, JudgedTurn, Verdict, judge
from trainer.types import Prediction, Tool

__all__ = [
    "Scores",
    "TokenLoss",
    "ToolRow",
    "Verdict",
    "context_hash",
    "make_prediction",
    "perplexity",
    "read_predictions",
    "read_tools",
    "score",
    "write_predictions",
]


@dataclass(frozen=True, slots=True)
class ToolRow:
    """How one tool fares: calls of it in gold, attempts at it, names matched, calls exact."""

    name: str
    n_gold: int
    n_predicted: int
    n_matched: int
    n_exact: int
    precision: float | None
    recall: float | None
    f1: float | None
    exact_recall: float | None


@dataclass(frozen=True, slots=True)
class Scores:
    """Everything that scoring found out.

    `metrics` is flat and ready for JSON: every rate of `trainer.rates`, `tool_name_f1_macro`, and counts (`n_…`,
    `schema_…`). `intervals` has the 95% interval of every rate that is defined, from two sessions on.
    `per_tool` is sorted worst first. `confusion` counts predicted names by gold name, `decisions` what was done
    by what gold does, and `verdicts` follows the order of the predictions.
    """

    metrics: dict[str, float | None]
    intervals: dict[str, tuple[float, float]]
    per_tool: tuple[ToolRow, ...]
    confusion: dict[str, dict[str, int]]
    decisions: dict[str, dict[str, int]]
    verdicts: tuple[Verdict, ...]

    def to_json(self) -> dict[str, Any]:
        """Everything but the verdicts of single turns, as JSON values."""
        return {
            "metrics": self.metrics,
            "intervals": {name: list(interval) for name, interval in self.intervals.items()},
            "per_tool": [asdict(row) for row in self.per_tool],
            "confusion": self.confusion,
            "decisions": self.decisions,
        }


def score(
    predictions: Sequence[Prediction],
    tools: Sequence[Tool],
    *,
    n_resamples: int = 1000,
    seed: int = 0,
    progress: bool = False,
) -> Scores:
    """Score predictions against their gold.

    `tools` gives the schemas for validity, defaults and comparators; which tools a turn offered is in the
    prediction. Failed and truncated turns stay in every denominator. Turns skipped for length are counted by
    `n_skipped_for_length` and are in no rate, for the model was never asked. `progress` shows a bar on standard
    error.

    Raises DataError where a turn occurs twice or a tool schema is broken.
    """
    specs = ToolSpecs(tools)
    _refuse_duplicates(predictions)
    judged = [judge(prediction, specs) for prediction in _with_bar(predictions, progress)]
    by_session = list(session_counts(judged).values())
    per_tool = _per_tool(judged)
    metrics = _metrics(predictions, judged, add_counts(by_session))
    macro = [row.f1 for row in per_tool if row.n_gold and row.f1 is not None]
    metrics["tool_name_f1_macro"] = sum(macro) / len(macro) if macro else None
    return Scores(
        metrics=metrics,
        intervals=_intervals(by_session, n_resamples=n_resamples, seed=seed),
        per_tool=per_tool,
        confusion=_confusion(judged),
        decisions=_decisions(judged),
        verdicts=tuple(turn.verdict for turn in judged),
    )


def session_counts(judged: Sequence[JudgedTurn]) -> dict[str, Counts]:
    """The summed counts of every session, by session id in sorted order.

    The order makes seeded resampling independent of the order in which turns were predicted.
    """
    turns: dict[str, list[JudgedTurn]] = defaultdict(list)
    for turn in judged:
        turns[turn.verdict.session_id].append(turn)
    return {session_id: _sum_session(turns[session_id]) for session_id in sorted(turns)}


def _sum_session(turns: Sequence[JudgedTurn]) -> Counts:
    sums = add_counts([turn.counts for turn in turns])
    verdicts = [turn.verdict.exact for turn in turns]
    if None in verdicts:  # a turn was skipped, so the session as a whole cannot be judged
        return sums
    return sums._replace(sessions=1, exact_sessions=int(all(verdicts)))


def add_counts(counts: Sequence[Counts]) -> Counts:
    """The sum, counter by counter."""
    return Counts(*map(sum, zip(*counts, strict=True)))


def _with_bar(predictions: Sequence[Prediction], progress: bool) -> Iterable[Prediction]:
    if not progress:
        return predictions
    from rich.console import Console
    from rich.progress import track

    return track(predictions, description="scoring turns", console=Console(stderr=True), transient=True)


def _refuse_duplicates(predictions: Sequence[Prediction]) -> None:
    seen = Counter((prediction.session_id, prediction.turn) for prediction in predictions)
    twice = [key for key, n in seen.items() if n > 1]
    if twice:
        session_id, turn = twice[0]
        raise DataError(
            f'{len(twice)} turns are predicted more than once, the first is turn {turn} of session "{session_id}"; '
            "score one prediction per turn"
        )


def _metrics(
    predictions: Sequence[Prediction], judged: Sequence[JudgedTurn], sums: Counts
) -> dict[str, float | None]:
    values = rates(np.array(sums, dtype=np.float64))
    metrics: dict[str, float | None] = {
        rate.name: None if math.isnan(value) else float(value)
        for rate, value in zip(RATES, values, strict=True)
    }
    finished = Counter(prediction.finish_reason for prediction in predictions)
    problems: Counter[SchemaProblem] = Counter()
    for turn in judged:
        problems.update(turn.schema_problems)
    return (
        metrics
        | {f"schema_{problem}": problems[problem] for problem in get_args(SchemaProblem)}
        | {
            "n_turns": len(predictions),
            "n_sessions": len({prediction.session_id for prediction in predictions}),
            "n_call_turns": sums.call_turns,
            "n_talk_turns": sums.talk_turns,
            "n_gold_calls": sums.gold_calls,
            "n_predicted_calls": sums.attempts,
            "n_malformed_calls": sums.attempts - sums.well_formed,
            "n_errors": finished["error"],
            "n_truncated": finished["length"],
            "n_skipped_for_length": finished["skipped_for_length"],
        }
    )


def _per_tool(judged: Sequence[JudgedTurn]) -> tuple[ToolRow, ...]:
    matched: Counter[str] = Counter()
    exact: Counter[str] = Counter()
    gold: Counter[str] = Counter()
    predicted: Counter[str] = Counter()
    for turn in judged:
        exact.update(turn.exact_names)
        gold.update(name for name, _ in turn.confusions)
        predicted.update(name for _, name in turn.confusions)
        matched.update(name for name, other in turn.confusions if name == other)
    rows = [
        ToolRow(
            name=name,
            n_gold=gold[name],
            n_predicted=predicted[name],
            n_matched=matched[name],
            n_exact=exact[name],
            precision=_ratio(matched[name], predicted[name]),
            recall=_ratio(matched[name], gold[name]),
            f1=_ratio(2 * matched[name], gold[name] + predicted[name]),
            exact_recall=_ratio(exact[name], gold[name]),
        )
        for name in gold | predicted
        if name not in (NO_CALL, MALFORMED)
    ]
    return tuple(
        sorted(rows, key=lambda row: (row.exact_recall or 0.0, row.f1 or 0.0, -row.n_gold, row.name))
    )


def _ratio(over: int, by: int) -> float | None:
    return over / by if by else None


def _confusion(judged: Sequence[JudgedTurn]) -> dict[str, dict[str, int]]:
    table: dict[str, Counter[str]] = defaultdict(Counter)
    for turn in judged:
        for gold, predicted in turn.confusions:
            table[gold][predicted] += 1
    return {gold: dict(sorted(table[gold].items())) for gold in sorted(table)}


def _decisions(judged: Sequence[JudgedTurn]) -> dict[str, dict[str, int]]:
    table = {gold: dict.fromkeys(get_args(Decision), 0) for gold in get_args(GoldDecision)}
    for turn in judged:
        if turn.verdict.predicted is not None:
            table[turn.verdict.gold][turn.verdict.predicted] += 1
    return table


def _intervals(
    by_session: Sequence[Counts], *, n_resamples: int, seed: int
) -> dict[str, tuple[float, float]]:
    if len(by_session) < 2 or n_resamples < 1:  # one session says nothing about how sessions differ
        return {}
    counts = np.array(by_session, dtype=np.float64)
    lower, upper = session_intervals(counts, n_resamples=n_resamples, seed=seed)
    return {
        rate.name: (float(low), float(high))
        for rate, low, high in zip(RATES, lower, upper, strict=True)
        if not math.isnan(low)
    }


@dataclass(frozen=True, slots=True)
class TokenLoss:
    """Summed negative log-likelihood, in nats, and counts of supervised tokens: of calls, and of prose.

    Every supervised token is one or the other: a token of an attempt's text is a call token, and the rest of the
    turn, the stop token included, is prose.
    """

    call_nll: float = 0.0
    n_call_tokens: int = 0
    prose_nll: float = 0.0
    n_prose_tokens: int = 0

    def __add__(self, other: "TokenLoss") -> "TokenLoss":
        return TokenLoss(
            self.call_nll + other.call_nll,
            self.n_call_tokens + other.n_call_tokens,
            self.prose_nll + other.prose_nll,
            self.n_prose_tokens + other.n_prose_tokens,
        )

    def metrics(self) -> dict[str, float | None]:
        """`perplexity`, `perplexity_call_tokens`, `perplexity_prose_tokens`, and the counts of tokens."""
        return {
            "perplexity": perplexity(
                self.call_nll + self.prose_nll, self.n_call_tokens + self.n_prose_tokens
            ),
            "perplexity_call_tokens": perplexity(self.call_nll, self.n_call_tokens),
            "perplexity_prose_tokens": perplexity(self.prose_nll, self.n_prose_tokens),
            "n_call_tokens": self.n_call_tokens,
            "n_prose_tokens": self.n_prose_tokens,
        }


def perplexity(total_nll: float, n_tokens: int) -> float | None:
    """e to the mean negative log-likelihood (nats) per token; lower is better, 1 is certainty.

    None where there are no tokens, and where the loss is not finite or its exponential is out of range, so that
    the result is always valid JSON.

    >>> perplexity(0.0, 7)
    1.0
    """
    mean_nll = total_nll / n_tokens if n_tokens else math.nan
    return math.exp(mean_nll) if mean_nll < 700 else None
