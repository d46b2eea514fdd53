"""From a file in a public layout to a trained and judged adapter: one short YAML file, two commands, no code."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from transformers.tokenization_utils_base import PreTrainedTokenizerBase

from tests.layouts.samples import SAMPLES
from tests.support.quick import tiny_model
from trainer.commands.main import main
from trainer.config import Config, load_config
from trainer.data import DatasetBundle
from trainer.data.domains import domain_datasets, domain_rows, load_domain
from trainer.messages import is_trained

pytestmark = pytest.mark.slow

YAML = """\
data:
  load_module: chat_rows
  dataset_name: {rows}
model:
  base_model_name: {model}
train:
  max_steps: 2
  use_cpu: true
eval:
  max_new_tokens_eval: 16
"""
WITHOUT_RESULTS = {"xlam"}
"""Rows of these layouts end with the calls, so they cannot hold a tool's error."""


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory, tokenizer: PreTrainedTokenizerBase) -> Path:
    """The folder of a tiny random model with the real tokenizer, shared by all layouts."""
    folder = tmp_path_factory.mktemp("model")
    tiny_model(len(tokenizer)).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working directory of somebody who has a file and no checkout."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def write(folder: Path, rows: Sequence[Any], *, model: Path, name: str) -> Path:
    """Write rows and their configuration, and return the configuration's path."""
    lines = [json.dumps(row, ensure_ascii=False) for row in rows]
    (folder / f"{name}.jsonl").write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    config = folder / f"{name}.yaml"
    config.write_text(YAML.format(rows=f"{name}.jsonl", model=model), encoding="utf-8")
    return config


def by_hand(cfg: Config, sample: Any) -> list[dict[str, Any]]:
    """The sample's conversations in this project's layout, under the ids that its rows have or get."""
    reader = domain_rows(load_domain(cfg), cfg).train[0].reader
    ids = [reader.read(row).session.session_id for row in sample.rows]
    return [
        {"session_id": session_id, "conversation": list(messages), "tools": list(sample.tools)}
        for session_id, messages in zip(ids, sample.sessions, strict=True)
    ]


def tokens_of(bundle: DatasetBundle) -> dict[str, Any]:
    """The tokens and labels of every row, and the prompt and target of every judged turn."""
    rows = {
        split: {row["session_id"]: (row["input_ids"], row["labels"]) for row in dataset}
        for split, dataset in (("train", bundle.train_dataset), ("test", bundle.eval_dataset))
    }
    turns = {(turn.session_id, turn.turn): (turn.prompt_ids, turn.target_ids) for turn in bundle.tool_eval_examples}
    return {**rows, "turns": turns}


@pytest.mark.parametrize("name", SAMPLES)
def test_the_samples_have_parallel_calls_no_call_turns_and_a_tool_error(name: str) -> None:
    sample = SAMPLES[name]
    assert len(sample.rows) == len(sample.sessions) == 5
    messages = [message for session in sample.sessions for message in session]
    assert any(len(message.get("tool_calls", ())) > 1 for message in messages)
    assert any(is_trained(message) and not message.get("tool_calls") for message in messages)
    results = [message["content"] for message in messages if message["role"] == "tool"]
    assert any("error" in content for content in results) == (name not in WITHOUT_RESULTS)


@pytest.mark.parametrize("name", SAMPLES)
def test_a_file_is_checked_trained_and_judged_with_a_short_yaml(name: str, model: Path, folder: Path) -> None:
    config = write(folder, SAMPLES[name].rows, model=model, name="rows")
    assert len(config.read_text(encoding="utf-8").splitlines()) <= 12
    assert main(["check", "--config", str(config), "--json", "check.json"]) == 0
    found = json.loads((folder / "check.json").read_text(encoding="utf-8"))
    assert found["n_errors"] == 0
    assert found["train"]["n_sessions"] + found["eval"]["n_sessions"] == 5
    assert main(["train", "--config", str(config)]) == 0
    run = folder / "runs" / "default"
    metrics = json.loads((run / "metrics.json").read_text(encoding="utf-8"))
    assert metrics["train"]["n_steps"] == 2
    assert metrics["base"]["n_turns"] == metrics["final"]["n_turns"] > 0
    assert (run / "adapter_model.safetensors").is_file()

    cfg = load_config(config)
    written = load_config(write(folder, by_hand(cfg, SAMPLES[name]), model=model, name="by-hand"))
    read, expected = (domain_datasets(load_domain(one), one) for one in (cfg, written))
    assert tokens_of(read) == tokens_of(expected)
    assert len(tokens_of(read)["train"]) + len(tokens_of(read)["test"]) == 5
    assert tokens_of(read)["turns"]
