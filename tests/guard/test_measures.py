"""What training spoiled is measured over conversations, and said in words."""

import json
import math
from typing import Any

import pytest

from trainer.guard.measures import (
    GuardSession,
    guard_intervals,
    guard_metrics,
    guard_rows,
    guard_shortfalls,
    guard_subject,
)


def model(*, n_calling: int = 0, nll: float = 10.0, n: int = 24) -> list[GuardSession]:
    """Conversations of one answer of ten tokens; the first ones make a call. The likelihoods differ a little."""
    return [GuardSession(1, int(i < n_calling), int(i < n_calling), nll + i % 3 * 0.1, 10) for i in range(n)]


def section(base: list[GuardSession], final: list[GuardSession]) -> dict[str, Any]:
    """The section as it comes out of a file."""
    sides = {"base": base, "final": final}
    found: dict[str, Any] = json.loads(
        json.dumps({"dataset": "builtin", **{k: {"sessions": [one._asdict() for one in v]} for k, v in sides.items()}})
    )
    return found


def test_the_metrics_are_ratios_of_sums() -> None:
    rows = [GuardSession(3, 1, 0, 2.0, 4), GuardSession(1, 1, 1, 4.0, 2)]
    base = [GuardSession(3, 0, 0, 1.0, 4), GuardSession(1, 0, 0, 2.0, 2)]
    assert guard_metrics(rows, base) == {
        "guard_call_rate": 0.5,
        "guard_call_first_rate": 0.25,
        "guard_perplexity": pytest.approx(math.e),
        "guard_nll_drift": 0.5,
    }
    assert "guard_nll_drift" not in guard_metrics(rows)
    assert set(guard_metrics([], []).values()) == {None}
    assert guard_metrics([rows[0]._replace(nll=math.nan)], base[:1])["guard_nll_drift"] is None


def test_every_rate_and_the_drift_have_an_interval_around_them() -> None:
    base, final = model(), model(n_calling=6, nll=12.0)
    metrics, intervals = guard_metrics(final, base), guard_intervals(final, base)
    for name in ("guard_call_rate", "guard_call_first_rate"):
        assert 0 < intervals[name][0] < (metrics[name] or 0) < intervals[name][1] < 1
    assert intervals["guard_nll_drift"] == pytest.approx((0.2, 0.2))
    uneven = [one._replace(nll=one.nll + i % 4) for i, one in enumerate(final)]
    low, high = guard_intervals(uneven, base)["guard_nll_drift"]
    assert low < (guard_metrics(uneven, base)["guard_nll_drift"] or 0) < high
    assert guard_intervals(final[:1], base[:1]) == {}


@pytest.mark.parametrize(
    ("base", "final", "n_sentences"),
    [
        (model(), model(), 0),
        (model(), model(n_calling=3), 0),
        (model(), model(n_calling=6), 1),
        (model(n_calling=24), model(n_calling=12), 0),
        (model(n_calling=24), model(n_calling=24), 0),
        (model(), model(nll=12.4), 0),
        (model(), model(nll=12.6), 1),
        (model(), model(nll=5.0), 0),
        (model(n=5), model(n=5, n_calling=5), 0),
        (model(), model(n_calling=24, nll=99.0), 2),
    ],
)
def test_sentences_are_about_what_got_worse_beyond_chance(
    base: list[GuardSession], final: list[GuardSession], n_sentences: int
) -> None:
    assert len(guard_shortfalls(section(base, final))) == n_sentences


def test_the_sentences_give_both_figures() -> None:
    calls, prose = guard_shortfalls(section(model(), model(n_calling=12, nll=15.0)))
    assert calls.endswith("in 50.0% of the guard's answers, 0.0% before.")
    assert "0.50 nats per token less certain (perplexity 4.527, 2.746 before)" in prose


def test_one_conversation_that_drifts_far_is_no_proof() -> None:
    final = [one._replace(nll=one.nll + 200 * (i == 0)) for i, one in enumerate(model())]
    assert (guard_metrics(final, model())["guard_nll_drift"] or 0) > 0.8
    assert guard_shortfalls(section(model(), final)) == []


def test_the_table_has_both_states() -> None:
    rows = {row.label: row for row in guard_rows(section(model(), model(n_calling=6, nll=12.0)))}
    assert rows["calls where none is possible"].before.startswith("0.000 (")
    assert rows["calls where none is possible"].after.startswith("0.250 (")
    assert rows["drift, nats per token"].before == "–"
    assert rows["drift, nats per token"].after == "+0.200 (+0.200 to +0.200)"


@pytest.mark.parametrize("damaged", [{}, {"base": 1, "final": []}, {"base": {"sessions": [{"a": 1}]}}, {"final": {}}])
def test_a_missing_or_damaged_section_says_nothing(damaged: dict[str, Any]) -> None:
    assert guard_rows(damaged) == []
    assert guard_shortfalls(damaged) == []


def test_likelihoods_that_are_not_finite_are_null_in_the_file_and_say_nothing() -> None:
    found = section(model(), model())
    found["final"]["sessions"][0]["nll"] = None
    assert guard_shortfalls(found) == []
    assert [row.after for row in guard_rows(found)][2:] == ["–", "–"]


def test_what_was_left_out_is_named() -> None:
    found = section(model(), model()) | {"n_left_out": 2}
    assert guard_subject(found) == (
        "24 answers in 24 conversations without tools (builtin); 2 conversations left out, the log says why"
    )
