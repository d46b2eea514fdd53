"""A run judges the guard before and after training, once each, and says what it lost."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.support.quick import GUARDED
from trainer.config import Config
from trainer.errors import ToolSftError
from trainer.guard.measures import CALL_RATE, DRIFT, PERPLEXITY
from trainer.tool_trainer import ToolTrainer
from trainer.training.train import train_run

MakeConfig = Callable[..., Config]


def metrics_of(cfg: Config) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((train_run(cfg).output_dir / "metrics.json").read_text(encoding="utf-8"))
    return found


def test_the_guard_is_judged_before_and_after_only_and_is_in_every_result(
    quick_config: MakeConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    titles = []
    decode = ToolTrainer.decode

    def noted(self: ToolTrainer, evaluator: Any, *, base: bool, title: str) -> Any:
        titles.append((title, base))
        return decode(self, evaluator, base=base, title=title)

    monkeypatch.setattr(ToolTrainer, "decode", noted)
    cfg = quick_config(GUARDED, "train.eval_strategy=steps", "train.eval_steps=1", "train.learning_rate=0.1")
    metrics = metrics_of(cfg)
    assert titles == [("Judging base, guard", True), ("Judging final, guard", False)]
    assert metrics["base"][CALL_RATE] == 0.0
    assert DRIFT not in metrics["base"]
    assert metrics["final"][DRIFT] != 0.0
    assert metrics["final"]["intervals"].keys() >= {CALL_RATE, DRIFT, "turn_exact"}
    assert metrics["guard"]["n_turns"] == 27
    folder = cfg.output_dir
    assert "What was good before" in (folder / "report.html").read_text(encoding="utf-8")
    assert "calls where none is possible" in (folder / "README.md").read_text(encoding="utf-8")


def test_without_a_step_that_changes_anything_there_is_no_drift(quick_config: MakeConfig) -> None:
    metrics = metrics_of(quick_config(GUARDED, "train.learning_rate=1.0e-30", "train.max_steps=1"))
    assert metrics["final"][DRIFT] == 0.0
    assert metrics["final"][PERPLEXITY] == metrics["base"][PERPLEXITY]


def test_the_drift_is_measured_without_the_evaluation_of_the_base_model(quick_config: MakeConfig) -> None:
    whole = metrics_of(quick_config(GUARDED))
    cfg = quick_config(GUARDED, "eval.evaluate_base=false", "train.overwrite_output_dir=true")
    metrics = metrics_of(cfg)
    assert "base" not in metrics
    assert metrics["final"][DRIFT] == whole["final"][DRIFT]


def test_null_leaves_no_trace(quick_config: MakeConfig) -> None:
    metrics = metrics_of(quick_config("eval.guard_dataset=null"))
    assert "guard" not in metrics
    assert not [key for key in metrics["final"] if key.startswith("guard")]


@pytest.mark.parametrize("is_kept", [True, False])
def test_a_resumed_run_compares_with_the_same_base_model(
    is_kept: bool, quick_config: MakeConfig, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Also if it was begun without a guard: the base model is the loaded one with its adapter off."""
    common = (
        GUARDED,
        "train.save_strategy=steps",
        "train.save_steps=1",
        "train.eval_strategy='no'",
        "train.learning_rate=0.1",
    )
    begun = tmp_path / "begun"
    whole = metrics_of(quick_config(*common, f"train.output_dir={begun}"))
    if not is_kept:
        kept = {name: value for name, value in whole.items() if name != "guard"}
        (begun / "metrics.json").write_text(json.dumps(kept), encoding="utf-8")
    titles = []
    decode = ToolTrainer.decode

    def noted(self: ToolTrainer, evaluator: Any, *, base: bool, title: str) -> Any:
        titles.append(title)
        return decode(self, evaluator, base=base, title=title)

    monkeypatch.setattr(ToolTrainer, "decode", noted)
    again = f"train.resume_from_checkpoint={begun / 'checkpoint-1'}"
    resumed = metrics_of(quick_config(*common, again, f"train.output_dir={tmp_path / 'resumed'}"))
    assert titles == [*([] if is_kept else ["Judging base, guard"]), "Judging final, guard"]
    for state in ("base", "final"):
        assert resumed["guard"][state]["sessions"] == whole["guard"][state]["sessions"]


def test_a_bad_guard_stops_a_run_before_it_writes_anything(quick_config: MakeConfig, tmp_path: Path) -> None:
    path = tmp_path / "guard.jsonl"
    path.write_text('{"messages": [{"role": "user", "content": "Hi"}]}\n', encoding="utf-8")
    for name, expected in ((path, rf"{path}:1: .*no answer to judge"), (tmp_path / "none.jsonl", "does not exist")):
        cfg = quick_config(f"eval.guard_dataset={name}")
        with pytest.raises(ToolSftError, match=f"(?s)eval.guard_dataset.*{expected}"):
            train_run(cfg)
        assert not cfg.output_dir.exists()


def test_a_guard_inside_the_output_folder_is_not_overwritten(quick_config: MakeConfig) -> None:
    first = train_run(quick_config("eval.guard_dataset=null"))
    inside = f"eval.guard_dataset={first.output_dir / 'history.jsonl'}"
    with pytest.raises(ToolSftError, match=r"eval\.guard_dataset .*would be removed"):
        train_run(quick_config(inside, "train.overwrite_output_dir=true"))
