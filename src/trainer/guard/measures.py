"""Whether a model lost what it was good at: calls where none is possible, and the likelihood of ordinary answers.

The conversations of the guard offer no tools, so every call in an answer is wrong. Both models are measured on the same
answers, so their difference is a paired one, over conversations.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from trainer.run_layout import BASE, FINAL
from trainer.scoring.intervals import COVERAGE, rate_interval
from trainer.scoring.permutation import FEWEST_SESSIONS, sign_flip_p_values
from trainer.scoring.perplexity import perplexity
from trainer.scoring.rates import FloatArray

CALL_RATE, CALL_FIRST_RATE = "guard_call_rate", "guard_call_first_rate"
PERPLEXITY, DRIFT = "guard_perplexity", "guard_nll_drift"
SECTION = "guard"
"""The key of the guard in `metrics.json`."""

MOST_DRIFT = 0.25
"""The most nats per token that training may cost on ordinary answers: a perplexity 1.28 times as high."""


class GuardSession(NamedTuple):
    """What a model did in one conversation: its answers, those with any attempt at a call, and those that begin with
    one; and the summed negative log likelihood (nats) of the conversation's own answers, and their tokens."""

    n_turns: int
    n_calling: int
    n_calls_first: int
    nll: float
    n_tokens: int


class GuardRow(NamedTuple):
    """One line of a table: what is measured, which direction is better, and value and interval before and after."""

    label: str
    better: str
    before: str
    after: str


Interval = tuple[float, float]


def guard_metrics(
    sessions: Sequence[GuardSession], base: Sequence[GuardSession] | None = None
) -> dict[str, float | None]:
    """Return the metrics of a model, flat; with the base model on the same conversations, also the drift.

    `guard_call_rate`: answers with any attempt at a call, well formed or not, out of all answers; lower is better.
    `guard_call_first_rate`: the same for answers that begin with a call. `guard_perplexity`: that of the
    conversations' own answers. `guard_nll_drift`: the mean negative log likelihood (nats per token) of these answers
    under this model minus that under the base model; 0 is no change, above 0 is worse. Each is None
    without answers, and if a number is not finite.
    """
    n_turns = sum(one.n_turns for one in sessions)
    n_tokens = sum(one.n_tokens for one in sessions)
    nll = math.fsum(one.nll for one in sessions)
    metrics = {
        CALL_RATE: sum(one.n_calling for one in sessions) / n_turns if n_turns else None,
        CALL_FIRST_RATE: sum(one.n_calls_first for one in sessions) / n_turns if n_turns else None,
        PERPLEXITY: perplexity(nll, n_tokens),
    }
    if base is not None:
        change = nll - math.fsum(one.nll for one in base)
        metrics[DRIFT] = change / n_tokens if n_tokens and math.isfinite(change) else None
    return metrics


def guard_intervals(
    sessions: Sequence[GuardSession], base: Sequence[GuardSession] | None = None
) -> dict[str, Interval]:
    """Return the 95% intervals of the rates and of the drift, if there are at least two conversations.

    The drift's is that of a ratio linearised over conversations, with Student's t.
    """
    sizes = _column(sessions, "n_turns")
    found = {CALL_RATE: _column(sessions, "n_calling"), CALL_FIRST_RATE: _column(sessions, "n_calls_first")}
    kept: dict[str, Interval] = {}
    for name, errors in found.items():
        right = rate_interval(errors, sizes, n_trials=float(sizes.sum()))
        if right is not None:
            kept[name] = (1 - right[1], 1 - right[0])
    changes = _column(sessions, "nll") - _column(base if base is not None else sessions, "nll")
    if base is not None and len(sessions) > 1 and np.isfinite(changes).all():
        kept[DRIFT] = _drift_interval(changes, _column(sessions, "n_tokens"))
    return kept


def _drift_interval(changes: FloatArray, sizes: FloatArray) -> Interval:
    from scipy.special import stdtrit  # takes long to import, and not every command scores

    n, total = len(changes), float(sizes.sum())
    drift = float(changes.sum()) / total
    error = math.sqrt(n / (n - 1) * float(np.square(changes - drift * sizes).sum())) / total
    reach = float(stdtrit(n - 1, (1 + COVERAGE) / 2)) * error
    return drift - reach, drift + reach


def guard_shortfalls(section: Mapping[str, Any]) -> list[str]:
    """Return sentences on what training spoiled; empty if nothing shows. `section` is `guard` of `metrics.json`.

    Calls count if there are more of them beyond chance (sign-flip test over conversations, p < 0.05). A drift counts
    if it is above `MOST_DRIFT` and its interval is above 0.
    """
    base, final = read_sessions(section, BASE), read_sessions(section, FINAL)
    if not base or not final:
        return []
    before, after = guard_metrics(base), guard_metrics(final, base)
    sentences = []
    if _more_calls_p_value(base, final) < 1 - COVERAGE:
        sentences.append(
            f"The trained model calls tools in conversations that offer none: in {after[CALL_RATE]:.1%} of the "
            f"guard's answers, {before[CALL_RATE]:.1%} before."
        )
    drift, interval = after[DRIFT], guard_intervals(final, base).get(DRIFT)
    if drift is not None and drift > MOST_DRIFT and interval is not None and interval[0] > 0:
        sentences.append(
            f"Training spoiled ordinary answers: on the guard's, the trained model is {drift:.2f} nats per token less "
            f"certain (perplexity {_shown(after[PERPLEXITY])}, {_shown(before[PERPLEXITY])} before)."
        )
    return sentences


def _more_calls_p_value(base: Sequence[GuardSession], final: Sequence[GuardSession]) -> float:
    """Return how likely at least as many more calls are by chance; 1 for fewer calls or too few conversations."""
    if len(base) < FEWEST_SESSIONS or sum(one.n_calling for one in final) <= sum(one.n_calling for one in base):
        return 1.0
    # float64 [sessions, 2, (answers, answers with a call)]
    counts = np.stack(
        [np.stack([_column(side, "n_turns"), _column(side, "n_calling")], 1) for side in (base, final)], 1
    )
    return float(sign_flip_p_values(counts, lambda sums: sums[..., 1:] / sums[..., :1])[0])


def guard_rows(section: Mapping[str, Any]) -> list[GuardRow]:
    """Return the lines of the guard's table; empty if the section is missing or holds no answer."""
    base, final = read_sessions(section, BASE), read_sessions(section, FINAL)
    if not base or not final:
        return []
    sides = [(guard_metrics(base), guard_intervals(base)), (guard_metrics(final, base), guard_intervals(final, base))]
    rows = []
    for key, label in (
        (CALL_RATE, "calls where none is possible"),
        (CALL_FIRST_RATE, "answers that begin with a call"),
        (PERPLEXITY, "perplexity of ordinary answers"),
        (DRIFT, "drift, nats per token"),
    ):
        cells = (_cell(metrics.get(key), intervals.get(key), signed=key == DRIFT) for metrics, intervals in sides)
        rows.append(GuardRow(label, "lower", *cells))
    return rows


def guard_subject(section: Mapping[str, Any]) -> str:
    """Return what was judged, as `27 answers in 24 conversations without tools (builtin)`, and what was left out."""
    sessions = read_sessions(section, FINAL) or read_sessions(section, BASE)
    n_left_out = section.get("n_left_out") or 0
    left_out = f"; {n_left_out} conversations left out, the log says why" if n_left_out else ""
    n_turns = sum(one.n_turns for one in sessions)
    return f"{n_turns} answers in {len(sessions)} conversations without tools ({section.get('dataset')}){left_out}"


def read_sessions(section: Mapping[str, Any], state: str) -> list[GuardSession]:
    """Return what a state did in each conversation; empty if it was not judged or cannot be read."""
    side = section.get(state)
    rows = side.get("sessions") if isinstance(side, Mapping) else None
    try:
        # A number that is not finite is null in the file.
        return [GuardSession(**{**row, "nll": math.nan if row["nll"] is None else row["nll"]}) for row in rows or ()]
    except (TypeError, KeyError):  # the file was written by hand or by another version
        return []


def _column(sessions: Sequence[GuardSession], name: str) -> FloatArray:
    return np.array([getattr(one, name) for one in sessions], dtype=np.float64)


def _cell(value: float | None, interval: Interval | None, *, signed: bool) -> str:
    form = "+.3f" if signed else ".3f"
    if value is None or interval is None:
        return _shown(value) if not signed or value is None else f"{value:{form}}"
    return f"{value:{form}} ({interval[0]:{form}} to {interval[1]:{form}})"


def _shown(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}" if abs(value) < 1000 else f"{value:.3g}"
