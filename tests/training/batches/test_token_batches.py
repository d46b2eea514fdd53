"""Batches hold at most a number of tokens, every row is in one of them, and a resumed run repeats them."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tests.loss.test_supervised import make_rows
from tests.training.batches.test_joined_rows import REWRITING
from tests.training.test_resume import RUN, interrupted, same_weights
from trainer.config import Config
from trainer.errors import ConfigError
from trainer.kernels import segments
from trainer.training.batches.token_batches import TokenBatches
from trainer.training.run_trainer import RunTrainer
from trainer.training.train import train_run
from trainer.types import IGNORE_INDEX

MakeConfig = Callable[..., Config]


@given(st.lists(st.integers(1, 30), min_size=1, max_size=40), st.integers(1, 60), st.integers(0, 3) | st.none())
def test_every_row_is_in_one_batch_and_no_batch_is_too_large(
    lengths: list[int], max_tokens: int, seed: int | None
) -> None:
    rows = make_rows(lengths)
    batches = TokenBatches(rows, max_tokens=max_tokens, seed=seed)
    assert sorted(row for batch in batches.batches for row in batch) == list(range(len(rows)))
    for batch, length in zip(batches.batches, batches.lengths, strict=True):
        assert length == sum(lengths[row] for row in batch)
        assert length <= max_tokens or len(batch) == 1
    assert TokenBatches(rows, max_tokens=max_tokens, seed=seed).batches == batches.batches
    # No two neighbors would fit into one batch.
    pairs = zip(batches.lengths, batches.lengths[1:], strict=False)
    assert all(one + other > max_tokens for one, other in pairs)


def test_the_seed_chooses_who_shares_a_batch() -> None:
    rows = make_rows([5] * 20)
    by_seed = [TokenBatches(rows, max_tokens=10, seed=seed).batches for seed in (0, 1, None)]
    assert by_seed[0] != by_seed[1]
    assert by_seed[2] == [[index, index + 1] for index in range(0, 20, 2)]


def test_a_beginning_that_all_rows_share_counts_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(segments, "FEWEST_SHARED", 4)
    rows = make_rows([5, 3, 4])
    beginning = make_rows([6], seed=9)[0]["input_ids"]
    for row in rows:
        row["input_ids"] = beginning + row["input_ids"]
        row["labels"] = [IGNORE_INDEX] * 7 + row["labels"][1:]
    assert segments.n_shared_by_all(rows) == 6
    batches = TokenBatches(rows, max_tokens=6 + 8, seed=None, n_shared=6, share=True)
    assert (batches.batches, batches.lengths) == ([[0, 1], [2]], [14, 10])
    assert [len(batches[index]["input_ids"]) for index in range(2)] == batches.lengths


def test_a_batch_is_its_rows_one_after_the_other() -> None:
    (rows, batches) = (make_rows([5, 3]), TokenBatches(make_rows([5, 3]), max_tokens=8, seed=None))
    batch = batches[0]
    assert batch["input_ids"].tolist() == rows[0]["input_ids"] + rows[1]["input_ids"]
    assert [(segment.start, segment.end) for segment in batch["segments"]] == [(0, 5), (5, 8)]


@pytest.mark.parametrize("template", [(), (REWRITING,)])
def test_a_run_keeps_to_its_budget_and_a_resumed_run_repeats_its_batches(
    template: tuple[str, ...], quick_config: MakeConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[int] = []
    step = RunTrainer.training_step

    def counted(trainer: RunTrainer, model: Any, inputs: dict[str, Any], *args: Any, **options: Any) -> torch.Tensor:
        seen.append(int(inputs["attention_mask"].sum()))
        return step(trainer, model, inputs, *args, **options)

    overrides = (*template, "train.max_tokens_per_batch=500", "train.gradient_accumulation_steps=1")
    with monkeypatch.context() as patch:
        patch.setattr(RunTrainer, "training_step", counted)
        whole = train_run(quick_config(*RUN, *overrides, f"train.output_dir={tmp_path / 'whole'}"))
    assert len(seen) >= 4
    assert max(seen) <= 500
    assert sorted(seen[: len(seen) // 2]) == sorted(seen[len(seen) // 2 :])  # two epochs
    folder = interrupted(quick_config, *overrides, step=len(seen) // 2 + 1)
    train_run(quick_config(*RUN, *overrides, "train.resume_from_checkpoint=true"))
    assert same_weights(folder, whole.output_dir)


def test_a_budget_needs_a_model_that_can_be_packed(quick_config: MakeConfig) -> None:
    with pytest.raises(ConfigError, match=r"train\.max_tokens_per_batch: packing needs .*per_device_train_batch_size"):
        train_run(quick_config("train.max_tokens_per_batch=4096", "model.attn_implementation=eager"))
