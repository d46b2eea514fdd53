"""A file of any layout trains with a short configuration and no code, on the prompts and targets written by hand."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.layouts.samples import SAMPLES
from tests.support.quick import tiny_model
from trainer.commands.main import main
from trainer.config import load_config
from trainer.data.domains import domain_datasets, load_domain
from trainer.eval_metrics import read_predictions

CONFIG = """\
data:
  load_module: chat_rows
  dataset_name: {rows}
  holdout: 0.4
model:
  base_model_name: {model}
train:
  output_dir: {output}
  max_steps: 2
  use_cpu: true
eval:
  max_new_tokens_eval: 8
"""


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory, tokenizer: Any) -> Path:
    folder = tmp_path_factory.mktemp("model")
    tiny_model(len(tokenizer)).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def test_the_samples_show_what_conversations_of_tools_are_made_of() -> None:
    for name, sample in SAMPLES.items():
        messages = [message for conversation in sample.sessions for message in conversation]
        calls = [len(message.get("tool_calls") or ()) for message in messages if message["role"] == "assistant"]
        assert len(sample.rows) == 5
        assert 0 in calls
        assert max(calls) > 1
        assert any("error" in str(m.get("content")) for m in messages if m["role"] == "tool") or name == "xlam"


def write(folder: Path, name: str, rows: list[Any], model: Path) -> Path:
    path = folder / f"{name}.jsonl"
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    config = folder / f"{name}.yaml"
    text = CONFIG.format(rows=path, model=model, output=folder / f"run-{name}")
    assert len(text.splitlines()) <= 12
    config.write_text(text, encoding="utf-8")
    return config


def tokens(config: Path) -> list[tuple[list[int], list[int]]]:
    """The tokens and labels of every session of both splits, without regard to ids and order."""
    cfg = load_config(config)
    bundle = domain_datasets(load_domain(cfg), cfg)
    both = [*bundle.train_dataset, *bundle.eval_dataset]
    return sorted((row["input_ids"], row["labels"]) for row in both)


@pytest.mark.slow
@pytest.mark.parametrize("layout", SAMPLES)
def test_every_layout_is_checked_trained_and_judged_without_code(layout: str, model: Path, tmp_path: Path) -> None:
    sample = SAMPLES[layout]
    config = write(tmp_path, "rows", list(sample.rows), model)
    assert main(["check", "--config", str(config)]) == 0
    assert main(["train", "--config", str(config)]) == 0
    run = tmp_path / "run-rows"
    metrics = json.loads((run / "metrics.json").read_text(encoding="utf-8"))
    assert metrics["train"]["n_steps"] == 2
    assert metrics["base"]["n_turns"] == metrics["final"]["n_turns"] > 0
    assert len(read_predictions(run / "predictions" / "final.jsonl")) == metrics["final"]["n_turns"]
    by_hand = [
        {"session_id": f"s{number}", "conversation": list(messages), "tools": list(sample.tools)}
        for number, messages in enumerate(sample.sessions)
    ]
    # Tools are shuffled by session id, so both files need the same ones.
    same_ids = [{**row, "session_id": sid} for row, sid in zip(by_hand, ids_of(config, sample.rows), strict=True)]
    assert tokens(config) == tokens(write(tmp_path, "by-hand", same_ids, model))


def ids_of(config: Path, rows: Any) -> list[str]:
    cfg = load_config(config)
    opened = load_domain(cfg).open_rows(cfg)
    reader = opened.train[0].reader
    return [reader.read(row).session.session_id for row in rows]
