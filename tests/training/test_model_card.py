"""The model card shows what a run measured and how it is served, in a form that the hub reads."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from huggingface_hub import ModelCard
from transformers import SequenceBiasLogitsProcessor

from tests.support.quick import QUICKSTART
from tests.support.scoring import call, number_turns, tool, turn
from tests.support.tiny_runs import make_run
from trainer.config import Config, load_config
from trainer.eval_metrics import score, write_predictions
from trainer.serving.plan import plan_serving
from trainer.serving.vllm import vllm_arguments
from trainer.training.finished_run import read_run
from trainer.training.publishing.card_of_run import card_of_run
from trainer.training.publishing.model_card import model_card
from trainer.training.train import train_run

MakeConfig = Callable[..., Config]
TOOLS = [tool("f", a={"type": "integer"})]
GOLD = [call("f", a=1)]
BASE = number_turns([turn(GOLD, "Hi")] * 12)
FINAL = number_turns([turn(GOLD, GOLD)] * 11 + [turn(GOLD, [call("f", a=2)])])
SPLIT = {"n_sessions": 1234, "n_rows": 1300, "n_tokens": 400_000, "n_supervised_tokens": 100_000}


def metrics() -> dict[str, object]:
    states = {"base": score(BASE, TOOLS).to_state(), "final": score(FINAL, TOOLS).to_state() | {"perplexity": 1.25}}
    data = {"train": SPLIT, "eval": SPLIT | {"n_sessions": 12}, "tool_call_format": "hermes"}
    return {**states, "train": {"n_steps": 40, "best_step": 30}, "data": data}


def config(*overrides: str) -> Config:
    return load_config(
        QUICKSTART,
        ["model.base_model_name=Qwen/Qwen3-4B", "model.revision=abc123", "train.num_train_epochs=1", *overrides],
    )


def test_the_hub_reads_the_metrics_and_the_base_model() -> None:
    card = ModelCard(model_card(config("train.hub_model_id=me/cars"), metrics()))
    data: Any = card.data
    assert data.base_model == "Qwen/Qwen3-4B"
    assert data.library_name == "peft"
    found = {one.metric_type: one.metric_value for one in data.eval_results}
    assert found["turn_exact"] == pytest.approx(11 / 12, abs=1e-4)
    assert found["perplexity"] == 1.25
    assert "hallucination_rate" not in found  # there was no turn to measure it on
    assert {(one.dataset_name, one.task_type) for one in data.eval_results} == {
        ("12 turns of 12 held-out sessions like the training data", "text-generation")
    }
    assert data.to_dict()["model-index"][0]["name"] == "cars"


def test_what_training_did_not_improve_is_said_first(tmp_path: Path) -> None:
    write_predictions(tmp_path / "predictions" / "base.jsonl", FINAL)
    write_predictions(tmp_path / "predictions" / "final.jsonl", BASE, TOOLS)
    text = card_of_run(tmp_path, config(), metrics())
    assert text.index("> **Note:** Training made the model worse: 0.0% of turns") < text.index("Trained with")


def test_intervals_counts_settings_and_limits_are_in_the_text(tmp_path: Path) -> None:
    write_predictions(tmp_path / "predictions" / "base.jsonl", BASE)
    write_predictions(tmp_path / "predictions" / "final.jsonl", FINAL, TOOLS)
    text = card_of_run(tmp_path, config("lora.target_modules='.*(q|v)_proj'"), metrics())
    low, high = score(FINAL, TOOLS).intervals["turn_exact"]
    assert "| turns exactly right | higher | 0.000 (0.000–" in text
    assert f"0.917 ({low:.3f}–{high:.3f}) |" in text
    assert "on the same turns: turn_exact differs by +0.917, better beyond chance" in text
    assert "| sessions | 1,234 | 12 |" in text
    assert "| supervised tokens | 25.0% | 25.0% |" in text
    assert "| steps | `40, 1 epochs, weights of step 30` |" in text
    assert r"| adapted modules | `.*(q\|v)_proj` |" in text
    assert "The wording of prose is not judged" in text
    assert "None" not in text


def test_failed_and_cut_answers_are_noted() -> None:
    turns = [*FINAL[:-2], replace(FINAL[-2], finish_reason="error"), replace(FINAL[-1], finish_reason="length")]
    text = model_card(config(), {"final": score(turns, TOOLS).to_state()})
    assert "12 turns of 12 held-out sessions (1 errors, 1 truncated)" in text


def test_the_bias_on_calls_is_in_the_form_of_a_server_and_of_transformers() -> None:
    calibration = {"bias": -2.5, "token_ids": [3, 5], "tokens": ["<", "\n<"]}
    text = model_card(config(), metrics() | {"calibration": calibration})
    assert '`{"logit_bias": {"3": -2.5, "5": -2.5}}`' in text
    sequences = json.loads(text.partition("sequence_bias=")[2].partition(")`")[0])
    scores = SequenceBiasLogitsProcessor(sequences)(torch.tensor([[1]]), torch.zeros(1, 6))
    assert scores.tolist() == [[0.0, 0.0, 0.0, -2.5, 0.0, -2.5]]
    for none in ({}, calibration | {"bias": 0.0}):
        assert "logit_bias" not in model_card(config(), metrics() | {"calibration": none})


def test_a_run_without_metrics_has_a_card() -> None:
    card = ModelCard(model_card(config(), {}))
    data: Any = card.data
    assert data.eval_results is None
    assert "turns of held-out sessions" in card.text


def test_a_training_writes_it_with_the_flags_of_serve(quick_config: MakeConfig, tmp_path: Path) -> None:
    folder = train_run(quick_config("lora.r=12", "train.learning_rate=0.00123")).output_dir
    card = ModelCard((folder / "README.md").read_text(encoding="utf-8"))
    assert str(tmp_path) not in card.content
    assert "| learning rate | `0.00123` |" in card.text
    assert "| optimizer | `adamw_torch" in card.text  # a default
    assert "on the same turns: turn_exact differs by" in card.text
    plan = plan_serving(read_run(folder))
    expected = vllm_arguments(plan, files=folder, host="h", port=1)
    command = card.text.split("```bash\n")[1].split("```")[0].replace("\\\n", "").split()
    for flag in ("--max-lora-rank", "--tool-call-parser", "--max-model-len"):
        assert command[command.index(flag) + 1] == expected[expected.index(flag) + 1]
    flags = {word for word in command if word.startswith("--")}
    assert flags <= set(expected)


def test_arguments_of_the_template_are_in_the_command(tiny_model_folder: Path, tmp_path: Path) -> None:
    run = make_run(tiny_model_folder, tmp_path / "run", "data.chat_template_kwargs={enable_thinking: true}")
    text = card_of_run(run.path, run.cfg, {})
    assert """--default-chat-template-kwargs '{"enable_thinking": true}'""" in text
    assert "on the same turns" not in text
