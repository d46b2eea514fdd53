"""Compare two sets of predictions for the same turns: differences with intervals, and the turns that flipped."""

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from trainer.errors import DataError
from trainer.scoring.aggregate import session_counts, turns_by_session
from trainer.scoring.bootstrap import percentile_interval, resampled_sums
from trainer.scoring.judging import JudgedTurn, Reason, Verdict
from trainer.scoring.rates import RATES, FloatArray, rates
from trainer.scoring.score import Scores, judge_all, score_judged
from trainer.types import Prediction, Tool


@dataclass(frozen=True, slots=True)
class Difference:
    """A rate on both sides, their difference (second minus first) and its 95% interval.

    The interval is None with fewer than two sessions.
    """

    first: float
    second: float
    difference: float
    interval: tuple[float, float] | None


@dataclass(frozen=True, slots=True)
class Flip:
    """A turn that is exact on one side only, and why it is not exact on the other."""

    session_id: str
    turn: int
    gained: bool
    reasons: tuple[Reason, ...]


@dataclass(frozen=True, slots=True)
class Comparison:
    """Two models on the turns that both were asked: same session, turn, history and gold.

    `n_unpaired` turns are left out: predicted on one side only, with a different history or gold, or skipped for
    length.
    """

    first: Scores
    second: Scores
    differences: dict[str, Difference]
    flips: tuple[Flip, ...]
    n_paired: int
    n_unpaired: int

    def to_json(self) -> dict[str, Any]:
        """Everything, as JSON values."""
        return {
            "first": self.first.to_json(),
            "second": self.second.to_json(),
            "differences": {name: asdict(difference) for name, difference in self.differences.items()},
            "flips": [asdict(flip) for flip in self.flips],
            "n_paired": self.n_paired,
            "n_unpaired": self.n_unpaired,
        }


def compare(
    first: Sequence[Prediction],
    second: Sequence[Prediction],
    tools: Sequence[Tool],
    *,
    n_resamples: int = 1000,
    seed: int = 0,
) -> Comparison:
    """Compare the predictions of two models, `second` minus `first`, on the turns that both were asked.

    Each resample draws the same sessions for both sides, so difficulty that both share cancels out of the
    difference. Raises DataError if no turn is shared.
    """
    sides = _pair(first, second)
    judged = [judge_all(side, tools) for side in sides]
    scores = [
        score_judged(side, turns, n_resamples=n_resamples, seed=seed) for side, turns in zip(sides, judged, strict=True)
    ]
    counts = np.stack([_count_sessions(turns) for turns in judged], axis=1)
    return Comparison(
        first=scores[0],
        second=scores[1],
        differences=_differences(counts, n_resamples=n_resamples, seed=seed),
        flips=_flips(scores[0].verdicts, scores[1].verdicts),
        n_paired=len(sides[0]),
        n_unpaired=len(first) + len(second) - 2 * len(sides[0]),
    )


def _pair(first: Sequence[Prediction], second: Sequence[Prediction]) -> tuple[list[Prediction], ...]:
    by_key = {_key(turn): turn for turn in second}
    pairs = [(turn, by_key[_key(turn)]) for turn in first if _key(turn) in by_key]
    comparable = [(a, b) for a, b in pairs if _is_comparable(a, b)]
    if not comparable:
        why = "the turns in both have different histories or gold" if pairs else "no turn is in both"
        raise DataError(f"nothing to compare: {why}; both must come from the same evaluation data")
    return [a for a, _ in comparable], [b for _, b in comparable]


def _key(turn: Prediction) -> tuple[str, int]:
    return turn.session_id, turn.turn


def _is_comparable(a: Prediction, b: Prediction) -> bool:
    was_asked = "skipped_for_length" not in (a.finish_reason, b.finish_reason)
    return was_asked and a.context_hash == b.context_hash and a.gold_calls == b.gold_calls


def _count_sessions(judged: Sequence[JudgedTurn]) -> FloatArray:
    """The counters of every session.

    returns  # float64 [sessions, counters]
    """
    return np.array([session_counts(turns) for turns in turns_by_session(judged).values()], dtype=np.float64)


def _differences(counts: FloatArray, *, n_resamples: int, seed: int) -> dict[str, Difference]:
    """The differences of all rates that are defined on both sides.

    counts  # float64 [sessions, sides, counters]
    """
    values = rates(counts.sum(axis=0))
    bounds = np.full((2, len(RATES)), np.nan)
    if len(counts) > 1 and n_resamples > 0:
        resampled = resampled_sums(counts, n_resamples=n_resamples, seed=seed)
        bounds = percentile_interval(np.concatenate([np.diff(rates(sums), axis=1)[:, 0] for sums in resampled]))
    return {
        rate.name: Difference(
            first=first,
            second=second,
            difference=second - first,
            interval=None if math.isnan(low) else (low, high),
        )
        for rate, first, second, low, high in zip(RATES, *values.tolist(), *bounds.tolist(), strict=True)
        if not math.isnan(second - first)
    }


def _flips(first: Sequence[Verdict], second: Sequence[Verdict]) -> tuple[Flip, ...]:
    changed = [pair for pair in zip(first, second, strict=True) if pair[0].exact != pair[1].exact]
    return tuple(
        Flip(
            session_id=before.session_id,
            turn=before.turn,
            gained=bool(after.exact),
            reasons=before.reasons if after.exact else after.reasons,
        )
        for before, after in changed
    )
