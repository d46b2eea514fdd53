"""The state of a run is None if it was not evaluated, and an error if its files are damaged."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.support.scoring import call, number_turns, tool, turn
from trainer.errors import DataError
from trainer.eval_metrics import score, write_predictions
from trainer.server_eval.agreement import agreement, read_run_state

TOOLS = [tool("f", a={"type": "integer"})]
TURNS = number_turns([turn([call("f", a=n)], [call("f", a=n)]) for n in range(4)])


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


def test_the_same_answers_agree_and_a_lower_rate_is_outside_the_interval(tmp_path: Path) -> None:
    scores = score(TURNS, TOOLS)
    state = scores.to_state()
    write_run(tmp_path, {"final": state | {"intervals": state["intervals"] | {"turn_exact": None}}})
    write_predictions(tmp_path / "predictions" / "final.jsonl", TURNS)
    run_state = read_run_state(tmp_path, "final")
    assert run_state is not None
    found = agreement(TURNS, scores, run_state, tools=TOOLS)
    assert (found.identical_share, found.outside) == (1.0, ())
    assert "all rates are inside the 95% intervals of the run" in found.lines()

    metrics = {"intervals": {"tool_name_f1": (0.1, 0.2)}}
    other = agreement(TURNS, scores, run_state._replace(metrics=metrics), tools=TOOLS)
    assert other.outside == ("tool_name_f1",)
    assert "outside the 95% interval of the run: tool_name_f1" in other.lines()
