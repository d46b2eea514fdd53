"""A run that chooses its checkpoint does so on held-out training sessions, and judges the evaluation split once."""

import json
from collections.abc import Callable

from trainer.config import Config
from trainer.run_layout import BASE, FINAL, RunLayout, step_name
from trainer.scoring.predictions import read_predictions
from trainer.training.train import train_run

MakeConfig = Callable[..., Config]
CHOOSES = (
    "data.train_split=train[:12]", "data.selection_share=0.1", "train.load_best_model_at_end=true",
    "train.eval_strategy=steps",
    "train.save_strategy=steps", "train.eval_steps=1", "train.save_steps=1",
)  # fmt: skip


def test_the_evaluation_split_is_judged_at_the_end_only(quick_config: MakeConfig) -> None:
    cfg = quick_config(*CHOOSES)
    result = train_run(cfg)
    files = RunLayout(result.output_dir)
    judged = {}
    for name in (BASE, step_name(1), step_name(2), FINAL):
        judged[name] = {(turn.session_id, turn.turn) for turn in read_predictions(files.predictions(name))}
    assert judged[BASE] == judged[FINAL]
    assert judged[step_name(1)] == judged[step_name(2)]
    assert not judged[FINAL] & judged[step_name(1)]
    metrics = json.loads(files.metrics.read_text(encoding="utf-8"))
    assert metrics["data"]["selection"]["n_trained_turns"] == len(judged[step_name(1)])
    history = [json.loads(line) for line in files.history.read_text(encoding="utf-8").splitlines()]
    evaluated = [line for line in history if "eval_turn_exact" in line]
    assert [line["step"] for line in evaluated] == [1, 2]
    assert metrics["train"]["best_metric"]["turn_exact"] == max(line["eval_turn_exact"] for line in evaluated)
    assert "on 1 held-out sessions" in files.report.read_text(encoding="utf-8")
    conversations = files.conversations.read_text(encoding="utf-8")
    assert all(session in conversations for turns in judged.values() for session, _ in turns)
