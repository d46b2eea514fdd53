"""Trackers receive the metrics and a sample of the predictions of base, evaluations and final state, and no secrets."""

import importlib
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from transformers.integrations.integration_utils import TensorBoardCallback

from tests.support.saved_runs import GOLD, HALF, NOTHING, PERFECT, TOOLS
from tests.support.scoring import number_turns, turn
from trainer.config import Config
from trainer.eval_metrics import score
from trainer.evaluation import Evaluation
from trainer.training.logs.prediction_table import MOST_ROWS, as_markdown, prediction_rows
from trainer.training.logs.trackers import Trackers, _CleanArguments
from trainer.training.train import train_run
from trainer.types import Prediction

MakeConfig = Callable[..., Config]
WITH_EVALUATION = ("train.eval_strategy=steps", "train.eval_steps=1", "train.max_steps=2", "train.logging_steps=1")


class Writer:
    """Replaces TensorBoard's writer."""

    def __init__(self) -> None:
        self.written: dict[str, tuple[int, Any]] = {}
        self.is_closed = False

    def add_scalar(self, key: str, value: float, step: int) -> None:
        self.written[key] = (step, value)

    def add_text(self, key: str, text: str, step: int = 0) -> None:
        self.written[key] = (step, text)

    def flush(self) -> None:
        pass

    def close(self) -> None:
        self.is_closed = True


def trackers(writer: Any, *, step: int) -> Trackers:
    """Return the trackers of a training that reports to TensorBoard, which need not be installed."""
    one: Any = TensorBoardCallback.__new__(TensorBoardCallback)
    one.tb_writer, one.logging_dir, one._SummaryWriter = writer, "logs", None
    callbacks = [one]
    return Trackers(
        SimpleNamespace(
            callback_handler=SimpleNamespace(callbacks=callbacks),
            remove_callback=callbacks.remove,
            state=SimpleNamespace(global_step=step, is_world_process_zero=True, is_hyper_param_search=False),
            is_world_process_zero=lambda: True,
            args=None,
            control=None,
            model=None,
        )
    )


def evaluation(turns: list[Prediction]) -> Evaluation:
    scores = score(turns, TOOLS)
    return Evaluation(tuple(turns), scores, dict(scores.metrics))


def test_metrics_of_base_and_final_and_a_table_of_each_evaluation_are_reported() -> None:
    writer = Writer()
    tracked = trackers(writer, step=40)
    for name, turns in (("base", NOTHING), ("step-000040", HALF), ("final", PERFECT)):
        tracked.evaluated(name, evaluation(turns))
    assert writer.written["base/turn_exact"] == (40, 0.0)
    assert writer.written["final/turn_exact"] == (40, 1.0)
    assert "eval/turn_exact" not in writer.written  # Trainer reports it
    assert {key for key in writer.written if key.endswith("predictions")} == {
        "base/predictions", "eval/predictions", "final/predictions"
    }  # fmt: skip


def test_a_tracker_that_fails_is_a_warning(caplog: pytest.LogCaptureFixture) -> None:
    tracked = trackers(None, step=1)  # a closed writer
    tracked.evaluated("final", evaluation(PERFECT))
    assert "TensorBoardCallback did not take final" in caplog.text


def test_the_end_comes_once_and_its_failure_is_a_warning(caplog: pytest.LogCaptureFixture) -> None:
    writer = Writer()
    tracked = trackers(writer, step=1)
    tracked.close()
    assert not writer.is_closed  # it has not begun
    tracked._is_open = True
    tracked.close()
    assert writer.is_closed
    failing = trackers(SimpleNamespace(), step=1)
    failing._is_open = True
    failing.close()
    assert "TensorBoardCallback did not end" in caplog.text


def test_the_sample_is_fixed_worst_first_and_of_bounded_size() -> None:
    said = {index: GOLD if index % 2 else "x" * 1000 for index in range(80)}
    turns = [replace(one, context_hash=f"{hash(one.session_id):x}") for one in
             number_turns([turn(GOLD, said[index]) for index in range(80)])]  # fmt: skip
    rows = prediction_rows(turns, score(turns, TOOLS))
    assert len(rows) == MOST_ROWS
    verdicts = [row[4] for row in rows]
    assert verdicts == sorted(verdicts, key=lambda verdict: verdict == "exact")
    assert max(len(cell) for row in rows for cell in row) == 400
    better = [replace(one, text="", calls=()) for one in turns]
    again = prediction_rows(better, score(better, TOOLS))
    assert {row[0] for row in again} == {row[0] for row in rows}


def test_cells_have_no_markup_and_no_control_characters() -> None:
    turns = number_turns([turn([], "**a** | <b> \x1b[1m\nnext")])
    (row,) = prediction_rows(turns, score(turns, TOOLS))
    assert as_markdown([row]).splitlines()[2].endswith(r"\*\*a\*\* \| &lt;b> \\x1b\[1m next | exact |")


def test_the_arguments_that_a_tracker_copies_have_no_secrets() -> None:
    values = {"learning_rate": 0.1, "deepspeed": {"comet": {"api_key": "very-secret-1", "enabled": True}}}
    clean = _CleanArguments(SimpleNamespace(run_name="r", to_dict=lambda: values))  # type: ignore[arg-type]
    assert clean.run_name == "r"
    assert clean.to_dict() == {"learning_rate": 0.1, "deepspeed": {"comet": {"enabled": True}}}
    assert "very-secret" not in clean.to_json_string()


def test_tensorboard_holds_them(quick_config: MakeConfig) -> None:
    pytest.importorskip("tensorboard")
    module = "tensorboard.backend.event_processing.event_accumulator"
    EventAccumulator = importlib.import_module(module).EventAccumulator
    folder = train_run(quick_config("train.report_to=tensorboard", *WITH_EVALUATION)).output_dir
    (events,) = folder.glob("runs/*/events*")
    read = EventAccumulator(str(events)).Reload()
    metrics = json.loads((folder / "metrics.json").read_text(encoding="utf-8"))
    for state, step in (("base", 0), ("final", 2)):
        (scalar,) = read.Scalars(f"{state}/turn_exact")
        assert (scalar.step, scalar.value) == (step, pytest.approx(metrics[state]["turn_exact"]))
    assert [one.step for one in read.Scalars("eval/turn_exact")] == [1, 2]
    assert [one.step for one in read.Tensors("eval/predictions/text_summary")] == [1, 2]
    assert b"| session | turn | gold |" in read.Tensors("base/predictions/text_summary")[0].tensor_proto.string_val[0]


def test_wandb_offline_holds_them(quick_config: MakeConfig, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    pytest.importorskip("wandb")
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_DIR", str(tmp_path))
    train_run(quick_config("train.report_to=wandb", *WITH_EVALUATION))
    (written,) = tmp_path.rglob("*.wandb")
    content = written.read_bytes()
    for name in (b"base/turn_exact", b"eval/turn_exact", b"final/turn_exact"):
        assert name in content
    tables = {path.name.partition("_")[0] for path in tmp_path.rglob("*.table.json")}
    folders = {path.parent.name for path in tmp_path.rglob("*.table.json")}
    assert tables == {"predictions"}
    assert folders == {"base", "eval", "final"}


def test_trackio_holds_them(quick_config: MakeConfig, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("TRACKIO_DIR", str(tmp_path / "trackio"))  # read when it is imported
    pytest.importorskip("trackio")
    train_run(quick_config("train.report_to=trackio", *WITH_EVALUATION))
    content = b"".join(path.read_bytes() for path in (tmp_path / "trackio").rglob("*") if path.is_file())
    for name in (b"base/turn_exact", b"eval/turn_exact", b"final/turn_exact", b"final/predictions"):
        assert name in content
