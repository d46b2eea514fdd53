"""What more sessions would gain if the errors went on falling as they did. Trains nothing and judges no turn.

Errors of learned models fall about as a power of the amount of data (Hestness et al. 2017). So the logarithm of the
share of wrong turns is fitted as a line over the logarithm of the number of sessions, and continued from its last point
to twice as many.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from trainer.scoring.intervals import COVERAGE
from trainer.scoring.judging import JudgedTurn
from trainer.scoring.rates import FloatArray


@dataclass(frozen=True, slots=True)
class Trend:
    """The expected change of `turn_exact` with twice as many sessions, and its 95% interval over test sessions.

    The interval says how well the curve is known, not whether it goes on as it did.
    """

    n_sessions: int
    gain: float
    interval: tuple[float, float]


class JudgedShare(NamedTuple):
    """The number of training sessions of a share, and the judged turns of its model."""

    n_sessions: int
    judged: Sequence[JudgedTurn]


def doubling_trend(points: Sequence[JudgedShare]) -> Trend | None:
    """Return what twice as many sessions as the last point has would gain; None with fewer than two test sessions.

    Turns that were not judged at every point are left out. The standard error is that of the jackknife over test
    sessions (Tukey 1958), with one more differing turn, as in `trainer.scoring.compare`.
    """
    from scipy.special import stdtrit  # takes long to import, and not every command scores

    wrong, turns = _counts(points)
    n = len(turns)
    if n < 2:
        return None
    n_sessions = np.array([point.n_sessions for point in points], dtype=np.float64)
    gain = float(_gain(wrong.sum(axis=0), turns.sum(), n_sessions))
    without = _gain(wrong.sum(axis=0) - wrong, turns.sum() - turns, n_sessions)
    variance = (n - 1) / n * float(np.square(without - without.mean()).sum()) + float(turns.sum()) ** -2
    half = float(stdtrit(n - 1, (1 + COVERAGE) / 2)) * math.sqrt(variance)
    return Trend(2 * points[-1].n_sessions, gain, (max(gain - half, -1.0), min(gain + half, 1.0)))


def _counts(points: Sequence[JudgedShare]) -> tuple[FloatArray, FloatArray]:
    """The wrong turns of every test session at every point, and its turns.

    returns  # float64 [sessions, points] and [sessions]
    """
    exact = [
        {(turn.verdict.session_id, turn.verdict.turn): turn.verdict.exact for turn in point.judged} for point in points
    ]
    keys = [key for key in exact[0] if all(one.get(key) is not None for one in exact)]
    rows = {session_id: row for row, session_id in enumerate(sorted({session_id for session_id, _ in keys}))}
    wrong, turns = np.zeros((len(rows), len(points))), np.zeros(len(rows))
    for key in keys:
        turns[rows[key[0]]] += 1
        wrong[rows[key[0]]] += [not one[key] for one in exact]
    return wrong, turns


def _gain(wrong: FloatArray, turns: FloatArray, n_sessions: FloatArray) -> FloatArray:
    """The expected gain of each result. Half a wrong turn is added, because no model makes no errors.

    wrong       # float64 [..., points]
    turns       # float64 [...]
    n_sessions  # float64 [points]
    returns     # float64 [...]
    """
    errors = (wrong + 0.5) / (np.asarray(turns)[..., None] + 1)
    doublings = np.log2(n_sessions)
    doublings = doublings - doublings.mean()
    slope = (np.log(errors) * doublings).sum(axis=-1) / np.square(doublings).sum()
    gain: FloatArray = errors[..., -1] * (1 - np.exp(slope))
    return gain
