"""Whether two models differ on the same sessions: a sign-flip permutation test, and Holm's correction for several.

If two models are equal, nothing changes when their answers to a session change sides. So the test counts how often the
difference of a rate is at least as large as the found one when the sides of each session are chosen by chance (Fisher
1935). Sessions change sides as a whole, because their turns are not independent.
"""

from collections.abc import Callable, Iterator

import numpy as np

from trainer.scoring.rates import FloatArray

Statistic = Callable[[FloatArray], FloatArray]
"""Maps summed counts, float64 [..., counters], to rates, float64 [..., rates], NaN if undefined."""

FEWEST_SESSIONS = 6
"""With fewer sessions no difference can be significant: all 2**5 choices of sides give at least p = 2/32 = 0.0625."""

_MOST_EXACT = 12
_N_RANDOM = 9_999
_CHUNK = 2_048
_ROUNDING = 1e-12


def sign_flip_p_values(counts: FloatArray, statistic: Statistic) -> FloatArray:
    """The two-sided p-value of the difference of every rate; 1 if a rate is undefined.

    Up to twelve sessions that differ, every choice of sides is tried; with more, 9,999 random ones and the found one
    (Phipson and Smyth 2010), drawn with a fixed seed.

    counts   # float64 [sessions, 2, counters]
    returns  # float64 [rates]
    """
    change = counts[:, 0] - counts[:, 1]
    change = change[change.any(axis=1)]
    sums = counts.sum(axis=0)
    found = _difference(statistic, sums[0], sums[1])
    n_hits, n_tried = np.zeros(len(found)), 0
    for flipped in _choices(len(change)):
        moved = flipped @ change
        drawn = _difference(statistic, sums[0] - moved, sums[1] + moved)
        n_hits += (drawn >= found - _ROUNDING).sum(axis=0)
        n_tried += len(flipped)
    if len(change) > _MOST_EXACT:
        n_hits, n_tried = n_hits + 1, n_tried + 1
    p_values: FloatArray = n_hits / n_tried
    return p_values


def _difference(statistic: Statistic, first: FloatArray, second: FloatArray) -> FloatArray:
    """The absolute difference of the rates; 0 if one of them is undefined."""
    difference: FloatArray = np.nan_to_num(np.abs(statistic(second) - statistic(first)))
    return difference


def _choices(n_sessions: int) -> Iterator[FloatArray]:
    """Which sessions change sides: all choices if they are few, else random ones.

    yields  # float64 [choices, sessions], 0 or 1
    """
    if n_sessions <= _MOST_EXACT:
        yield (np.arange(2**n_sessions)[:, None] >> np.arange(n_sessions) & 1).astype(np.float64)
        return
    rng = np.random.default_rng(0)
    for start in range(0, _N_RANDOM, _CHUNK):
        yield rng.integers(2, size=(min(_CHUNK, _N_RANDOM - start), n_sessions)).astype(np.float64)


def holm(p_values: FloatArray) -> FloatArray:
    """The p-values corrected for their number (Holm 1979): all of them together are wrong at most as often as one.

    >>> holm(np.array([0.01, 0.04, 0.03])).tolist()
    [0.03, 0.06, 0.06]
    """
    order = np.argsort(p_values)
    factors = np.arange(len(p_values), 0, -1)
    corrected = np.minimum(np.maximum.accumulate(p_values[order] * factors), 1.0)
    result: FloatArray = np.empty_like(corrected)
    result[order] = corrected
    return result
