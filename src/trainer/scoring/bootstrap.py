"""Bootstrap intervals over sessions, computed from each session's counts."""

from collections.abc import Callable, Iterator

import numpy as np

from trainer.scoring.rates import FloatArray

Statistic = Callable[[FloatArray], FloatArray]
"""Maps summed counts, float64 [..., counters], to statistics, float64 [..., statistics], NaN if undefined."""

COVERAGE = 0.95
_CHUNK = 100


def resampled_sums(counts: FloatArray, *, n_resamples: int, seed: int) -> Iterator[FloatArray]:
    """Sums of `counts` over sessions drawn with replacement, in chunks of resamples.

    Whole sessions are drawn because the turns of a session are not independent (the cluster bootstrap: Field
    and Welsh 2007). The draw depends only on the number of sessions and the seed, so two models judged on the
    same sessions get the same resamples.

    counts  # float64 [sessions, …]
    yields  # float64 [chunk, …]
    """
    rng = np.random.default_rng(seed)
    n_sessions = len(counts)
    flat = counts.reshape(n_sessions, -1)
    for start in range(0, n_resamples, _CHUNK):
        size = min(_CHUNK, n_resamples - start)
        drawn = rng.integers(n_sessions, size=(size, n_sessions))
        times = np.stack([np.bincount(row, minlength=n_sessions) for row in drawn]).astype(np.float64)
        yield (times @ flat).reshape(size, *counts.shape[1:])


def percentile_interval(values: FloatArray) -> FloatArray:
    """The central 95% of resampled values; resamples without a value are left out.

    values   # float64 [resamples, rates]
    returns  # float64 [2, rates]
    """
    tail = (1 - COVERAGE) / 2
    result = np.full((2, values.shape[1]), np.nan)
    defined = ~np.isnan(values).all(axis=0)
    result[:, defined] = np.nanquantile(values[:, defined], [tail, 1 - tail], axis=0)
    return result


def widen_unanimous(interval: FloatArray, per_session: FloatArray, point: FloatArray) -> FloatArray:
    """Replace the zero-width intervals of rates of exactly 0 or 1, which resampling cannot widen.

    If all n sessions with something to judge agree, use the exact bound (Clopper and Pearson 1934) for n out of
    n: 30 correct sessions out of 30 give [0.88, 1], not certainty.

    per_session  # float64 [sessions, rates], NaN if a session has nothing to judge
    """
    n_judged = np.maximum((~np.isnan(per_session)).sum(axis=0), 1)
    bound = ((1 - COVERAGE) / 2) ** (1 / n_judged)
    lower = np.where(point == 1.0, bound, interval[0])
    upper = np.where(point == 0.0, 1 - bound, interval[1])
    return np.stack([lower, upper])


def session_intervals(counts: FloatArray, statistic: Statistic, *, n_resamples: int, seed: int) -> FloatArray:
    """The 95% interval of every statistic.

    counts   # float64 [sessions, counters]
    returns  # float64 [2, statistics], NaN if a statistic is undefined
    """
    chunks = [statistic(sums) for sums in resampled_sums(counts, n_resamples=n_resamples, seed=seed)]
    interval = percentile_interval(np.concatenate(chunks))
    return widen_unanimous(interval, statistic(counts), statistic(counts.sum(axis=0)))
