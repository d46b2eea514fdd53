"""The state of a run is None if it was not evaluated, and an error if its files are damaged."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.support.scoring import call, number_turns, tool, turn
from trainer.errors import DataError
from trainer.eval_metrics import score, write_predictions
from trainer.server_eval.agreement import RunState, agreement, read_run_state

TOOLS = [tool("f", a={"type": "integer"})]
N_TURNS = 12
TURNS = number_turns([turn([call("f", a=n)], [call("f", a=n)]) for n in range(N_TURNS)])


def write_run(folder: Path, metrics: Any) -> None:
    (folder / "metrics.json").write_text(json.dumps(metrics), encoding="utf-8")


def test_a_state_that_was_not_evaluated_is_none(tmp_path: Path) -> None:
    assert read_run_state(tmp_path, "final") is None
    write_run(tmp_path, {"base": {"turn_exact": 0.5}, "train": {"loss": 1.0}})
    assert read_run_state(tmp_path, "final") is None
    base = read_run_state(tmp_path, "base")
    assert base is not None
    assert (base.metrics["turn_exact"], base.predictions) == (0.5, ())


@pytest.mark.parametrize(
    ("metrics", "message"),
    [
        ([1], "not a JSON object"),
        ({"final": 3}, "final is 3; expected an object"),
        ({"final": {"intervals": {"turn_exact": [0.5]}}}, r"missing 'final\.intervals\.turn_exact\.1'"),
        (
            {"final": {"intervals": {"turn_exact": ["x", 1]}}},
            r"final\.intervals\.turn_exact\.0 is 'x'; expected",
        ),
    ],
)
def test_damaged_metrics_are_an_error_with_their_path(tmp_path: Path, metrics: Any, message: str) -> None:
    write_run(tmp_path, metrics)
    with pytest.raises(DataError, match=r"metrics\.json: cannot read the metrics of the run: " + message):
        read_run_state(tmp_path, "final")


def test_damaged_predictions_are_an_error_with_their_line(tmp_path: Path) -> None:
    write_run(tmp_path, {"final": {}})
    (tmp_path / "predictions").mkdir()
    (tmp_path / "predictions" / "final.jsonl").write_text("{}\n", encoding="utf-8")
    with pytest.raises(DataError, match=r"final\.jsonl:1: not a prediction"):
        read_run_state(tmp_path, "final")


def test_served_answers_are_compared_with_those_of_the_run_in_pairs(tmp_path: Path) -> None:
    write_run(tmp_path, {"final": score(TURNS, TOOLS).to_state()})
    write_predictions(tmp_path / "predictions" / "final.jsonl", TURNS)
    run_state = read_run_state(tmp_path, "final")
    assert run_state is not None
    same = agreement(TURNS, run_state, TOOLS)
    assert (same.identical_share, same.differs) == (1.0, ())
    assert same.headline is not None
    assert (same.headline.difference, same.headline.verdict) == (0.0, None)
    assert any("would show a difference of" in line for line in same.lines())

    silent = number_turns([turn([call("f", a=n)], "Hello!") for n in range(N_TURNS)])
    worse = agreement(silent, run_state, TOOLS)
    assert worse.headline is not None
    assert (worse.headline.difference, worse.headline.verdict) == (-1.0, "worse")
    assert {"turn_exact", "missed_call_rate"} <= set(worse.differs)
    assert any("worse beyond chance" in line for line in worse.lines())


def test_without_a_common_turn_nothing_is_compared() -> None:
    found = agreement(TURNS, RunState("final", {}, ()), TOOLS)
    assert (found.n_paired, found.headline, found.conclusion) == (0, None, None)
    assert found.lines() == ["the run's final state and the server have no turn with the same history"]
