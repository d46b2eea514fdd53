"""Every metric of an evaluation can choose the best checkpoint, in its own direction; a mistake is named at once."""

import json
from collections.abc import Callable
from typing import Any

import pytest

from trainer.config import Config
from trainer.errors import ConfigError
from trainer.tool_trainer import ToolTrainer
from trainer.training.best_model import CHOOSING, best_model_arguments
from trainer.training.train import train_run

CHOOSE = {"load_best_model_at_end": True}


@pytest.mark.parametrize("name", CHOOSING)
def test_every_metric_knows_its_direction(name: str) -> None:
    lower = name.startswith(("loss", "perplexity", "hallucination", "missed", "unknown"))
    expected = {"metric_for_best_model": name, "greater_is_better": not lower}
    assert best_model_arguments({**CHOOSE, "metric_for_best_model": name}) == expected
    assert best_model_arguments({**CHOOSE, "metric_for_best_model": f"eval_{name}"}) == expected


def test_the_headline_chooses_if_no_metric_is_named() -> None:
    assert best_model_arguments(CHOOSE) == {"metric_for_best_model": "turn_exact", "greater_is_better": True}
    assert best_model_arguments({}) == {}


@pytest.mark.parametrize(
    ("train", "message"),
    [
        ({"metric_for_best_model": "tool_f1"}, "no evaluation measures 'tool_f1'; did you mean tool_name_f1"),
        ({"metric_for_best_model": "perplexity", "greater_is_better": True}, "perplexity is better if it is lower"),
        ({"early_stopping": 2}, "needs evaluations"),
    ],
)
def test_a_mistake_is_named(train: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        best_model_arguments(train)


STEPS = ("train.eval_strategy=steps", "train.eval_steps=1", "train.save_strategy=steps", "train.save_steps=1")


def judged_as(monkeypatch: pytest.MonkeyPatch, name: str, values: list[float | None]) -> None:
    """Let the evaluations of a run measure these values of a metric, one after the other."""
    judge, left = ToolTrainer._judge_with, list(values)

    def with_value(self: ToolTrainer, *args: Any, **options: Any) -> Any:
        evaluation = judge(self, *args, **options)
        evaluation.metrics[name] = left.pop(0) if len(left) > 1 else left[0]
        return evaluation

    monkeypatch.setattr(ToolTrainer, "_judge_with", with_value)


@pytest.mark.parametrize(
    ("name", "values", "best"),
    [("perplexity", [9.0, 5.0, 7.0], 1), ("turn_exact", [0.2, 0.5, 0.4], 1), ("turn_exact", [None, None, 0.1], 3)],
)
def test_the_best_checkpoint_is_kept(
    quick_config: Callable[..., Config],
    monkeypatch: pytest.MonkeyPatch,
    name: str,
    values: list[float | None],
    best: int,
) -> None:
    judged_as(monkeypatch, name, values)
    choose = ("train.load_best_model_at_end=true", f"train.metric_for_best_model={name}")
    cfg = quick_config(*STEPS, *choose, "train.max_steps=3", "eval.evaluate_base=false")
    result = train_run(cfg)
    train = json.loads((result.output_dir / "metrics.json").read_text())["train"]
    assert train["best_step"] == (best if None in values else values.index(values[best]) + 1)


def test_training_stops_early_when_the_metric_no_longer_improves(
    quick_config: Callable[..., Config], monkeypatch: pytest.MonkeyPatch
) -> None:
    judged_as(monkeypatch, "turn_exact", [0.5, 0.4, 0.3, 0.2, 0.1])
    cfg = quick_config(*STEPS, "train.early_stopping=2", "train.max_steps=5", "eval.evaluate_base=false")
    result = train_run(cfg)
    assert json.loads((result.output_dir / "metrics.json").read_text())["train"]["n_steps"] == 3
