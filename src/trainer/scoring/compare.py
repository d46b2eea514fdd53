"""Compare two sets of predictions for the same turns: which rates differ, by how much, and which turns flipped.

One rate, the headline, is tested on its own; the others are corrected for their number. So equal models get a verdict
on the headline in at most 5% of comparisons, and on any other rate in at most 5%.
"""

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal, NamedTuple

import numpy as np

from trainer.errors import DataError
from trainer.scoring.aggregate import session_counts, turns_by_session
from trainer.scoring.intervals import COVERAGE
from trainer.scoring.judging import JudgedTurn, Reason, Verdict
from trainer.scoring.permutation import FEWEST_SESSIONS, errors_shown, holm, sign_flip_p_values
from trainer.scoring.rates import RATES, FloatArray, rate_terms, rates
from trainer.scoring.score import Scores, judge_all, score_judged
from trainer.types import Prediction, Tool

HEADLINE = "turn_exact"
"""The rate that decides whether a model is better."""


@dataclass(frozen=True, slots=True)
class Difference:
    """A rate on both sides and their difference, second minus first.

    `interval` is its 95% interval, None with fewer than two sessions. `p_value` is that of the sign-flip test over
    sessions, for all rates but the headline corrected for their number. `verdict` is given if it is below 0.05. With
    fewer than six sessions there is neither. `detectable` is the smallest difference that this many sessions would show
    in 80% of comparisons, if sessions differed normally and this rate were tested alone; real turns show it less often.
    """

    first: float
    second: float
    difference: float
    interval: tuple[float, float] | None
    p_value: float | None
    verdict: Literal["better", "worse"] | None
    detectable: float | None


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

    def conclusion(self) -> str:
        """Whether the headline differs, and which difference these sessions could show, as a sentence."""
        row = self.differences[HEADLINE]
        changed = f"{HEADLINE} differs by {row.difference:+.3f}"
        if row.p_value is None:
            n = self.first.metrics["n_sessions"]
            return f"{changed}; {n} sessions are too few for a verdict (at least {FEWEST_SESSIONS})"
        judged = f"{row.verdict} beyond chance" if row.verdict else "not beyond chance"
        return (
            f"{changed}, {judged} (p = {row.p_value:.3f}); these sessions would show a difference of "
            f"{row.detectable:.3f} or more in most comparisons"
        )

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
) -> Comparison:
    """Compare the predictions of two models, `second` minus `first`, on the turns that both were asked.

    Difficulty that both share cancels out of the difference. Raises DataError if no turn is shared.
    """
    sides = _pair(first, second)
    return _compared(sides, [judge_all(side, tools) for side in sides], n_all=len(first) + len(second))


def compare_judged(
    first: Sequence[Prediction],
    second: Sequence[Prediction],
    judged: tuple[Sequence[JudgedTurn], Sequence[JudgedTurn]],
) -> Comparison:
    """Compare as `compare` does, with the verdicts of `judge_all` on each side. Raises DataError as it does."""
    sides = _pair(first, second)
    verdicts = []
    for all_turns, found, side in zip((first, second), judged, sides, strict=True):
        by_key = {_key(turn): verdict for turn, verdict in zip(all_turns, found, strict=True)}
        verdicts.append([by_key[_key(turn)] for turn in side])
    return _compared(sides, verdicts, n_all=len(first) + len(second))


def _compared(
    sides: Sequence[Sequence[Prediction]], judged: Sequence[Sequence[JudgedTurn]], *, n_all: int
) -> Comparison:
    scores = [score_judged(side, turns) for side, turns in zip(sides, judged, strict=True)]
    counts = np.stack([_count_sessions(turns) for turns in judged], axis=1)
    return Comparison(
        first=scores[0],
        second=scores[1],
        differences=_differences(counts),
        flips=_flips(scores[0].verdicts, scores[1].verdicts),
        n_paired=len(sides[0]),
        n_unpaired=n_all - 2 * len(sides[0]),
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
    same_gold = (a.gold_calls, a.alternatives) == (b.gold_calls, b.alternatives)
    return was_asked and a.context_hash == b.context_hash and same_gold


def _count_sessions(judged: Sequence[JudgedTurn]) -> FloatArray:
    """The counters of every session.

    returns  # float64 [sessions, counters]
    """
    return np.array([session_counts(turns) for turns in turns_by_session(judged).values()], dtype=np.float64)


def _differences(counts: FloatArray) -> dict[str, Difference]:
    """The differences of all rates that are defined on both sides.

    counts  # float64 [sessions, 2, counters]
    """
    values = rates(counts.sum(axis=0))
    defined = [not math.isnan(a + b) for a, b in values.T.tolist()]
    names = [rate.name for rate in RATES]
    p_values = _corrected(sign_flip_p_values(counts, rates), is_tested=defined, headline=names.index(HEADLINE))
    spread = _Spread(counts)
    return {
        rate.name: _difference(values[:, column], rate.better, p_values[column], spread=spread.of(column))
        for column, rate in enumerate(RATES)
        if defined[column]
    }


def _corrected(p_values: FloatArray, *, is_tested: Sequence[bool], headline: int) -> FloatArray:
    """The p-values, those of all tested rates but the headline corrected together."""
    others = [index for index, tested in enumerate(is_tested) if tested and index != headline]
    corrected = p_values.copy()
    corrected[others] = holm(p_values[others])
    return corrected


class _SpreadOf(NamedTuple):
    """The standard error of the difference of one rate, and the number of sessions with something to judge."""

    error: float
    n_sessions: int
    n_trials: float


class _Spread:
    """How much the differences of the rates vary, linearised over sessions (Taylor series of both ratios)."""

    def __init__(self, counts: FloatArray) -> None:
        self._numerators, self._denominators = rate_terms(counts)  # [sessions, 2, rates]

    def of(self, column: int) -> _SpreadOf:
        numerators, denominators = self._numerators[..., column], self._denominators[..., column]
        judged = denominators.any(axis=1)
        numerators, denominators = numerators[judged], denominators[judged]
        totals = denominators.sum(axis=0)
        n = len(numerators)
        if n < 2 or not totals.all():
            return _SpreadOf(math.nan, n, float(totals.mean()))
        residuals = (numerators - numerators.sum(axis=0) / totals * denominators) / totals
        variance = n / (n - 1) * float(np.square(residuals[:, 1] - residuals[:, 0]).sum())
        # One more turn on which the sides differ is assumed: models that agree everywhere here may differ elsewhere.
        return _SpreadOf(math.sqrt(variance + float(totals.mean()) ** -2), n, float(totals.mean()))


def _difference(
    values: FloatArray, better: Literal["higher", "lower"], p_value: float, *, spread: _SpreadOf
) -> Difference:
    from scipy.special import stdtrit  # takes long to import, and not every command scores

    first, second = values.tolist()
    difference = second - first
    if spread.n_sessions < 2 or math.isnan(spread.error):
        return Difference(first, second, difference, None, None, None, None)
    t = float(stdtrit(spread.n_sessions - 1, (1 + COVERAGE) / 2))
    interval = (max(difference - t * spread.error, -1.0), min(difference + t * spread.error, 1.0))
    if spread.n_sessions < FEWEST_SESSIONS:
        return Difference(first, second, difference, interval, None, None, None)
    detectable = errors_shown(spread.n_sessions) * spread.error
    # Six sessions have to change in the same direction before chance becomes an unlikely explanation.
    detectable = min(max(detectable, FEWEST_SESSIONS / spread.n_trials), 1.0)
    verdict: Literal["better", "worse"] | None = None
    if p_value < 1 - COVERAGE:
        verdict = "better" if (difference > 0) == (better == "higher") else "worse"
    return Difference(first, second, difference, interval, float(p_value), verdict, detectable)


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
