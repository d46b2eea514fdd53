"""Add up judged turns: by session, by tool, by confusion, by decision. Judges nothing and resamples nothing."""

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


def turns_by_session(judged: Sequence[JudgedTurn]) -> dict[str, list[JudgedTurn]]:
    """The turns of every session, sessions in sorted order.

    The order makes seeded resampling independent of the order in which turns were predicted.
    """
    sessions: dict[str, list[JudgedTurn]] = defaultdict(list)
    for turn in judged:
        sessions[turn.verdict.session_id].append(turn)
    return {session_id: sessions[session_id] for session_id in sorted(sessions)}


def session_counts(turns: Sequence[JudgedTurn]) -> Counts:
    """The summed counts of one session, and whether all of it is exact."""
    sums = add_counts([turn.counts for turn in turns])
    verdicts = [turn.verdict.exact for turn in turns]
    if None in verdicts:  # a turn was skipped, so the session as a whole cannot be judged
        return sums
    return sums._replace(sessions=1, exact_sessions=int(all(verdicts)))


def add_counts(counts: Sequence[Counts]) -> Counts:
    """The sum, counter by counter."""
    return Counts(*map(sum, zip(*counts, strict=True))) if counts else Counts()


def count_names(judged: Sequence[JudgedTurn], tools: Sequence[str]) -> FloatArray:
    """Matched names, and gold calls plus attempts, of each of `tools`: what their F1 is made of.

    gives  # float64 [2, tools]
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


def count_endings(predictions: Sequence[Prediction], judged: Sequence[JudgedTurn], sums: Counts) -> dict[str, int]:
    """The counts that stand beside the rates: sizes, schema problems, and turns that ended badly."""
    finished = Counter(prediction.finish_reason for prediction in predictions)
    problems: Counter[SchemaProblem] = Counter()
    for turn in judged:
        problems.update(turn.schema_problems)
    return {f"n_schema_{problem}": problems[problem] for problem in get_args(SchemaProblem)} | {
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


def tool_rows(judged: Sequence[JudgedTurn]) -> tuple[ToolRow, ...]:
    """One row per tool that gold or the predictions name, worst first: by exact calls, then by name F1."""
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
    """How often each gold name met each predicted name; NO_CALL and MALFORMED stand for what is missing."""
    table: dict[str, Counter[str]] = defaultdict(Counter)
    for turn in judged:
        for gold, predicted in turn.confusions:
            table[gold][predicted] += 1
    return {gold: dict(sorted(table[gold].items())) for gold in sorted(table)}


def decisions(judged: Sequence[JudgedTurn]) -> Mapping[GoldDecision, dict[Decision, int]]:
    """How often each decision was taken where gold calls, and where it talks."""
    table: dict[GoldDecision, dict[Decision, int]] = {
        gold: dict.fromkeys(get_args(Decision), 0) for gold in get_args(GoldDecision)
    }
    for turn in judged:
        if turn.verdict.predicted is not None:
            table[turn.verdict.gold][turn.verdict.predicted] += 1
    return table
