"""Rows of one session train as one example with the same loss, and a run that was interrupted repeats its examples."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import datasets
import pytest
import torch
import trl

from tests.support.interrupted import SHORT_SESSIONS, history_of
from tests.training.test_resume import RUN, interrupted, same_weights
from trainer.config import Config
from trainer.kernels import packed_attention
from trainer.training.batches.joined_rows import JoinedRows, has_sessions_of_several_rows
from trainer.training.run_trainer import RunTrainer
from trainer.training.train import train_run

MakeConfig = Callable[..., Config]
# Drops the reasoning of earlier answers, so almost every answer needs a row.
REWRITING = f"model.chat_template_path={Path(trl.__file__).parent / 'chat_templates' / 'qwen3.jinja'}"
N_TURNS = 10


@pytest.fixture
def ten_turns(tmp_path: Path) -> tuple[str, ...]:
    """Overrides for two sessions of ten answers with reasoning, after a prompt of some thousand tokens."""
    rules = " ".join(
        f"Rule {number}: an offer of group {number} needs the consent of the manager." for number in range(150)
    )
    sessions = []
    for name in ("a", "b"):
        messages: list[dict[str, str]] = [{"role": "system", "content": rules}]
        for turn in range(N_TURNS):
            messages.append({"role": "user", "content": f"And what would the car {turn} cost me, please ({name})?"})
            answer = {"role": "assistant", "content": f"It costs {turn}900.", "reasoning_content": "Look it up."}
            messages.append(answer)
        sessions.append({"session_id": name, "messages": messages})
    folder = tmp_path / "sessions"
    folder.mkdir()
    for split in ("train", "test"):
        text = "".join(json.dumps({**row, "session_id": f"{split}-{row['session_id']}"}) + "\n" for row in sessions)
        (folder / f"{split}.jsonl").write_text(text, encoding="utf-8")
    return (
        *SHORT_SESSIONS, f"data.dataset_name={folder}", "data.chat_template_kwargs={enable_thinking: true}",
        "data.train_split=train", "data.eval_split=test", "data.n_tool_sessions_eval=0",
        "train.max_steps=1", "train.logging_steps=1", "eval.evaluate_base=false", REWRITING,
    )  # fmt: skip


def first_step(cfg: Config, monkeypatch: pytest.MonkeyPatch) -> tuple[dict[str, Any], int]:
    """Train one step; return its line of the history, and the number of tokens that were computed."""
    step, n_tokens = RunTrainer.training_step, []

    def counted(trainer: RunTrainer, model: Any, inputs: dict[str, Any], *args: Any, **options: Any) -> torch.Tensor:
        n_tokens.append(int(inputs["attention_mask"].sum()))
        return step(trainer, model, inputs, *args, **options)

    with monkeypatch.context() as patch:
        patch.setattr(RunTrainer, "training_step", counted)
        run = train_run(cfg).output_dir
    return json.loads((run / "history.jsonl").read_text(encoding="utf-8").splitlines()[0]), sum(n_tokens)


def test_ten_turns_cost_little_more_than_one_row_and_train_the_same(
    ten_turns: tuple[str, ...], quick_config: MakeConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: Any
) -> None:
    caplog.set_level("INFO")
    n_rows = 2 * N_TURNS
    separate, n_separate = first_step(
        quick_config(
            *ten_turns, "train.packing=false", f"train.per_device_train_batch_size={n_rows}",
            f"train.output_dir={tmp_path / 'separate'}",
        ),
        monkeypatch,
    )  # fmt: skip
    assert "are joined" not in caplog.text
    one_by_one = ("train.per_device_train_batch_size=1", "train.gradient_accumulation_steps=2")
    joined, n_joined = first_step(quick_config(*ten_turns, *one_by_one), monkeypatch)
    assert joined["loss"] == pytest.approx(separate["loss"], rel=1e-5)
    assert joined["grad_norm"] == pytest.approx(separate["grad_norm"], rel=1e-5)
    assert f"the {n_rows} rows are joined to 2 sessions" in caplog.text
    assert f"{n_joined:,} tokens instead of {n_separate:,}" in caplog.text
    longest = n_separate / n_rows  # no row is longer than this on average
    assert n_joined <= 1.15 * 2 * longest
    both, n_both = first_step(
        quick_config(*ten_turns, "train.per_device_train_batch_size=2", f"train.output_dir={tmp_path / 'both'}"),
        monkeypatch,
    )
    assert both["loss"] == pytest.approx(separate["loss"], rel=1e-5)
    assert both["grad_norm"] == pytest.approx(separate["grad_norm"], rel=1e-5)
    assert "all sessions begin with the same " in caplog.text
    assert n_both <= 0.6 * n_joined  # the two sessions share the system message as well


def test_rows_of_a_model_that_mixes_branches_stay_separate(
    ten_turns: tuple[str, ...], quick_config: MakeConfig, monkeypatch: pytest.MonkeyPatch, caplog: Any
) -> None:
    caplog.set_level("INFO")
    seen = packed_attention._visible
    monkeypatch.setattr(packed_attention, "_visible", lambda *args, **options: torch.ones_like(seen(*args, **options)))
    train_run(quick_config(*ten_turns, "train.per_device_train_batch_size=2"))
    assert "rows of a session are not joined: " in caplog.text


@pytest.mark.parametrize("strategy", ["group_by_length", "random", "sequential", "batch_rebalance"])
def test_a_resumed_run_trains_on_the_sessions_of_the_uninterrupted_run(
    strategy: str, quick_config: MakeConfig, tmp_path: Path, caplog: Any
) -> None:
    caplog.set_level("INFO")
    overrides = (
        REWRITING, f"train.train_sampling_strategy={strategy}", "train.per_device_train_batch_size=2",
        "train.gradient_accumulation_steps=1",
    )  # fmt: skip
    whole = train_run(quick_config(*RUN, *overrides, f"train.output_dir={tmp_path / 'whole'}"))
    folder = interrupted(quick_config, *overrides)
    train_run(quick_config(*RUN, *overrides, "train.resume_from_checkpoint=true"))
    assert "rows are joined to 6 sessions" in caplog.text
    assert same_weights(folder, whole.output_dir)
    assert history_of(folder) == history_of(whole.output_dir)


def rows_of(sessions: list[str], turns: list[list[int]]) -> datasets.Dataset:
    ids = [[1, 2, 3, 4, 10 * last + index] for index, (*_, last) in enumerate(turns)]
    labels = [[-100] * 4 + row[-1:] for row in ids]
    values = {"session_id": sessions, "turns": turns, "input_ids": ids, "labels": labels, "length": [5] * len(ids)}
    return datasets.Dataset.from_dict(values)


def test_a_session_that_is_used_twice_is_two_examples() -> None:
    rows = rows_of(["a", "a", "a", "a", "b"], [[2], [2], [4], [4], [2]])
    joined = JoinedRows(rows)
    assert joined.lengths == [len(joined[index]["input_ids"]) for index in range(3)] == [7, 7, 5]
    assert [joined[index]["session_id"] for index in range(3)] == ["a", "a", "b"]
    assert joined[1]["input_ids"].tolist() == [1, 2, 3, 4, 21, 4, 43]


def test_rows_without_sessions_are_not_joined() -> None:
    rows = rows_of(["a", "b"], [[2], [2]])
    assert not has_sessions_of_several_rows(rows)
    assert not has_sessions_of_several_rows(rows.remove_columns("session_id"))
    assert not has_sessions_of_several_rows([{"input_ids": [1], "session_id": "a"}] * 2)
