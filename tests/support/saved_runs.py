"""Folders with the files of runs and of served evaluations, without a training."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from tests.support.scoring import call, number_turns, tool, turn
from trainer.eval_metrics import score, write_predictions
from trainer.run_layout import BASE, FINAL, RunLayout, ServedLayout, step_name
from trainer.types import Prediction

TOOLS = [tool("f", a={"type": "integer"}), tool("g")]
GOLD = [call("f", a=1)]
PERFECT = number_turns([turn(GOLD, GOLD)] * 10)
NOTHING = number_turns([turn(GOLD, "Hi")] * 10)
HALF = [*PERFECT[:5], *NOTHING[5:]]


def save_run(
    folder: Path,
    *,
    base: Sequence[Prediction] = NOTHING,
    final: Sequence[Prediction] = PERFECT,
    steps: Mapping[int, Sequence[Prediction]] | None = None,
    finished: bool = True,
    **settings: Any,
) -> Path:
    """Write a run folder with the values `settings` in the section `train` of its configuration."""
    files = RunLayout(folder)
    folder.mkdir(parents=True)
    config = {"model": {"base_model_name": "org/model"}, "train": {"output_dir": str(folder), **settings}}
    files.config.write_text(yaml.safe_dump(config), encoding="utf-8")
    states = {BASE: base} | {step_name(step): turns for step, turns in (steps or {}).items()}
    states |= {FINAL: final} if finished else {}
    for name, turns in states.items():
        write_predictions(files.predictions(name), turns, TOOLS)
    metrics: dict[str, Any] = {BASE: score(base, TOOLS).to_state()}
    if finished:
        metrics[FINAL] = score(final, TOOLS).to_state() | {"perplexity": 1.5}
        metrics["train"] = {"n_steps": 40, "runtime_s": 3700.0}
    files.metrics.write_text(json.dumps(metrics), encoding="utf-8")
    lines = [{"step": 1, "loss": 2.0}, {"step": 40, "loss": 0.5}]
    lines += [{"step": 20, "eval_turn_exact": 0.5}, {"step": 40, "eval_turn_exact": 1.0}]
    files.history.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    return folder


def save_served(folder: Path, turns: Sequence[Prediction]) -> Path:
    """Write a served evaluation whose lenient reading is perfect."""
    files = ServedLayout(folder)
    write_predictions(files.predictions, turns, TOOLS)
    write_predictions(files.lenient, PERFECT)
    return folder
