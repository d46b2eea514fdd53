"""95% intervals for rates over turns that belong to sessions. Knows no metric.

The turns of a session are not independent, so a rate over n trials says less than n independent trials would. The
interval is the exact binomial one (Clopper and Pearson 1934) for an *effective* number of trials, n / deff, as in Korn
and Graubard (1998). The design effect deff (Kish 1965) is the variance of the rate, linearised over sessions, divided
by the binomial variance. It is at least what a correlation of `WITHIN_SESSION` inside sessions would cause, since a few
sessions cannot show a small one. A factor of Student's t accounts for the number of sessions.

One rule is added: a model that makes one more error never gets a better interval. An estimated design effect alone
breaks it: an error in another session makes errors look less concentrated, and the interval narrower. So the lower
bound is the lowest of all results with fewer errors, and the upper bound is the highest of all results with more.
"""

import numpy as np

from trainer.scoring.rates import FloatArray

COVERAGE = 0.95
WITHIN_SESSION = 0.1
"""The least correlation assumed between the trials of one session."""

_TAIL = (1 - COVERAGE) / 2
_MOST_STEPS = 256


def rate_interval(
    errors: FloatArray, sizes: FloatArray, *, n_trials: float, step: float = 1.0
) -> tuple[float, float] | None:
    """The interval of 1 - errors / sizes, summed over sessions; None with fewer than two sessions.

    Sessions of size zero have nothing to judge and do not count. `n_trials` is the number of independent trials that
    have the precision of the rate: the sum of the sizes, if one unit is one trial. `step` is the smallest change of
    `errors`.

    errors, sizes  # float64 [sessions], 0 <= errors <= sizes

    >>> [float(round(bound, 3)) for bound in rate_interval(np.zeros(10), np.full(10, 10.0), n_trials=100.0)]
    [0.913, 1.0]
    """
    judged = sizes > 0
    errors, sizes = errors[judged], sizes[judged]
    if len(sizes) < 2:
        return None
    design = _Design(sizes, n_trials)
    lower, _ = design.bounds(*_fewer_errors(errors, sizes, step))
    _, upper = design.bounds(*_more_errors(errors, sizes, step))
    return float(lower.min()), float(upper.max())


class _Design:
    """What the bounds depend on besides the errors: the sizes of the sessions and the number of trials."""

    def __init__(self, sizes: FloatArray, n_trials: float) -> None:
        self._total, self._n_trials, self._n_sessions = float(sizes.sum()), n_trials, len(sizes)
        # With one trial in each session, the trials are independent and there is no correlation to estimate.
        from scipy.special import stdtrit  # takes long to import, and not every command scores

        concentration = n_trials * float(np.square(sizes / self._total).sum())
        self._has_clusters = concentration > 1 + 1e-9
        self._floor = 1 + WITHIN_SESSION * max(concentration - 1, 0.0)
        t_sessions = stdtrit(self._n_sessions - 1, 1 - _TAIL)
        t_trials = stdtrit(max(n_trials, self._n_sessions) - 1, 1 - _TAIL)
        self._few_sessions = float((t_trials / t_sessions) ** 2)

    def bounds(self, totals: FloatArray, squares: FloatArray) -> tuple[FloatArray, FloatArray]:
        """The Clopper-Pearson bounds of the rate for some results.

        totals   # float64 [results], errors of all sessions
        squares  # float64 [results], sum over sessions of (errors - share of errors * size) ** 2
        """
        from scipy.special import betaincinv

        share = np.clip(totals / self._total, 0.0, 1.0)
        binomial = share * (1 - share) / self._n_trials
        clustered = squares / self._total**2 * self._n_sessions / (self._n_sessions - 1)
        deff = np.full_like(share, self._floor)
        if self._has_clusters:
            estimated = np.divide(clustered, binomial, out=np.zeros_like(share), where=binomial > 0)
            deff = np.maximum(deff, estimated)
        n = self._n_trials / deff * self._few_sessions
        right, wrong = (1 - share) * n, share * n
        with np.errstate(invalid="ignore"):
            lower: FloatArray = np.where(right > 0, betaincinv(right, wrong + 1, _TAIL), 0.0)
            upper: FloatArray = np.where(wrong > 0, betaincinv(right + 1, wrong, 1 - _TAIL), 1.0)
        return lower, upper


def _fewer_errors(errors: FloatArray, sizes: FloatArray, step: float) -> tuple[FloatArray, FloatArray]:
    """Every number of errors up to the found one, and the largest squares that its removal could leave.

    The squares are convex in the errors of a session, so their chord from none to the found ones is above them.
    """
    total = float(errors.sum())
    totals: FloatArray = total - _steps(total, step)
    share: FloatArray = (totals / float(sizes.sum()))[:, None]
    without: FloatArray = share[:, 0] ** 2 * float(np.square(sizes).sum())
    squares: FloatArray = without + _best_filling(totals, worth=errors - 2 * share * sizes, room=errors)
    return totals, squares


def _more_errors(errors: FloatArray, sizes: FloatArray, step: float) -> tuple[FloatArray, FloatArray]:
    """Every number of errors from the found one on, and the largest squares that more errors could give."""
    room = sizes - errors
    n_more = _steps(float(room.sum()), step)
    totals: FloatArray = float(errors.sum()) + n_more
    share: FloatArray = (totals / float(sizes.sum()))[:, None]
    found: FloatArray = np.square(errors - share * sizes).sum(axis=1)
    return totals, found + _best_filling(n_more, worth=errors + (1 - 2 * share) * sizes, room=room)


def _steps(most: float, step: float) -> FloatArray:
    """0, step, 2 * step, … up to `most`, at most `_MOST_STEPS` steps."""
    return np.arange(min(int(most / step + 1e-9), _MOST_STEPS) + 1, dtype=np.float64) * step


def _best_filling(amounts: FloatArray, *, worth: FloatArray, room: FloatArray) -> FloatArray:
    """The largest total worth of each amount, spread over sessions with limited room (a fractional knapsack).

    amounts  # float64 [results]
    worth    # float64 [results, sessions], of one unit
    room     # float64 [sessions]
    """
    order = np.argsort(-worth, axis=1)
    capacity = room[order]
    before = np.cumsum(capacity, axis=1) - capacity
    taken = np.clip(amounts[:, None] - before, 0.0, capacity)
    total: FloatArray = (taken * np.take_along_axis(worth, order, axis=1)).sum(axis=1)
    return total
