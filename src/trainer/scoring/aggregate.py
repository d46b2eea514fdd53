"""Add up judged turns: by session, by tool, by pair of confused tools, and by decision."""

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import get_args

import numpy as np

from trainer.scoring.judging import MALFORMED, NO_CALL, Counts, Decision, GoldDecision, JudgedTurn
from trainer.scoring.rates import FloatArray
from trainer.tools.validation import SchemaProblem
from trainer.types import Prediction


@dataclass(frozen=True, slots=True)
class ToolRow:
    """The results of one tool: its gold calls, attempts, matched names and exact calls."""

    name: str
    n_gold: int
    n_predicted: int
    n_matched: int
    n_exact: int
    precision: float | None
    recall: float | None
    f1: float | None
    exact_recall: float | None


def turns_by_session(judged: Sequence[JudgedTurn]) -> dict[str, list[JudgedTurn]]:
    """The turns of every session, with the sessions in sorted order.

    Sorting makes seeded resampling independent of the order in which turns were predicted.
    """
    sessions: dict[str, list[JudgedTurn]] = defaultdict(list)
    for turn in judged:
        sessions[turn.verdict.session_id].append(turn)
    return {session_id: sessions[session_id] for session_id in sorted(sessions)}


def session_counts(turns: Sequence[JudgedTurn]) -> Counts:
    """The summed counts of one session, including whether the whole session is exact."""
    sums = add_counts([turn.counts for turn in turns])
    exact = [turn.verdict.exact for turn in turns]
    if None in exact:  # a turn was skipped, so the session as a whole cannot be judged
        return sums
    return sums._replace(sessions=1, exact_sessions=int(all(exact)))


def add_counts(counts: Sequence[Counts]) -> Counts:
    """The sum of each counter."""
    return Counts(*map(sum, zip(*counts, strict=True))) if counts else Counts()


def count_names(judged: Sequence[JudgedTurn], tools: Sequence[str]) -> FloatArray:
    """The terms of each tool's F1: its matched names, and its gold calls plus attempts.

    returns  # float64 [2, tools]
    """
    row_of = {name: index for index, name in enumerate(tools)}
    table = np.zeros((2, len(tools)))
    for turn in judged:
        for gold, predicted in turn.confusions:
            if gold == predicted and gold in row_of:
                table[0, row_of[gold]] += 1
            for name in (gold, predicted):
                if name in row_of:
                    table[1, row_of[name]] += 1
    return table


def count_outcomes(predictions: Sequence[Prediction], judged: Sequence[JudgedTurn], sums: Counts) -> dict[str, int]:
    """The counts reported with the rates: sizes, schema problems, and turns that failed, were cut off or skipped."""
    finished = Counter(prediction.finish_reason for prediction in predictions)
    problems: Counter[SchemaProblem] = Counter()
    for turn in judged:
        problems.update(turn.schema_problems)
    return {f"n_schema_{problem}": problems[problem] for problem in get_args(SchemaProblem)} | {
        "n_turns": len(predictions),
        "n_sessions": len({prediction.session_id for prediction in predictions}),
        "n_call_turns": sums.call_turns,
        "n_no_call_turns": sums.no_call_turns,
        "n_gold_calls": sums.gold_calls,
        "n_predicted_calls": sums.attempts,
        "n_malformed_calls": sums.attempts - sums.well_formed,
        "n_errors": finished["error"],
        "n_truncated": finished["length"],
        "n_skipped_for_length": finished["skipped_for_length"],
    }


def tool_rows(judged: Sequence[JudgedTurn]) -> tuple[ToolRow, ...]:
    """One row per tool that gold or the predictions name, worst first: by exact recall, then by name F1."""
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
    return tuple(sorted(rows, key=lambda row: (row.exact_recall or 0.0, row.f1 or 0.0, -row.n_gold, row.name)))


def _ratio(numerator: int, denominator: int) -> float | None:
    return numerator / denominator if denominator else None


def confusion(judged: Sequence[JudgedTurn]) -> dict[str, dict[str, int]]:
    """How often each gold name was paired with each predicted name; NO_CALL and MALFORMED mark a missing name."""
    table: dict[str, Counter[str]] = defaultdict(Counter)
    for turn in judged:
        for gold, predicted in turn.confusions:
            table[gold][predicted] += 1
    return {gold: dict(sorted(table[gold].items())) for gold in sorted(table)}


def decisions(judged: Sequence[JudgedTurn]) -> Mapping[GoldDecision, dict[Decision, int]]:
    """How often each decision was made on call turns, and how often on no-call turns."""
    table: dict[GoldDecision, dict[Decision, int]] = {
        gold: dict.fromkeys(get_args(Decision), 0) for gold in get_args(GoldDecision)
    }
    for turn in judged:
        if turn.verdict.predicted is not None:
            table[turn.verdict.gold][turn.verdict.predicted] += 1
    return table
