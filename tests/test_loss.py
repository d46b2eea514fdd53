"""The loss counts only supervised tokens and does not depend on batching."""

import pytest
import torch
from torch.nn import functional

from tests.support.quick import tiny_model
from trainer.collate import PaddingCollator
from trainer.lora_model import takes_logits_to_keep
from trainer.loss import supervised_logits, token_loss
from trainer.types import IGNORE_INDEX

VOCABULARY = 50


def make_rows(lengths: list[int], *, seed: int = 0) -> list[dict[str, list[int]]]:
    generator = torch.Generator().manual_seed(seed)
    rows = []
    for length in lengths:
        ids = torch.randint(1, VOCABULARY, (length,), generator=generator)
        supervised = torch.rand(length, generator=generator) < 0.3
        supervised[0], supervised[-1] = False, True
        labels = torch.where(supervised, ids, IGNORE_INDEX)
        rows.append({"input_ids": ids.tolist(), "labels": labels.tolist()})
    return rows


def loss_of(model: torch.nn.Module, rows: list[dict[str, list[int]]], *, select: bool = True) -> torch.Tensor:
    batch = PaddingCollator(0)(rows)
    return token_loss(supervised_logits(model, batch, select=select, use_cache=False))


def test_the_loss_is_that_of_full_logits_and_shifted_labels() -> None:
    model = tiny_model(VOCABULARY)
    batch = PaddingCollator(0)(make_rows([9, 14, 5]))
    logits = model(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"]).logits
    expected = functional.cross_entropy(
        logits[:, :-1].flatten(0, 1),
        batch["labels"][:, 1:].flatten(),
        reduction="sum",
        ignore_index=IGNORE_INDEX,
    )
    torch.testing.assert_close(loss_of(model, make_rows([9, 14, 5])), expected)


def test_one_batch_of_eight_equals_eight_batches_of_one() -> None:
    model = tiny_model(VOCABULARY)
    rows = make_rows([5, 9, 7, 20, 11, 6, 13, 8])
    together = loss_of(model, rows)
    torch.testing.assert_close(together, torch.stack([loss_of(model, [row]) for row in rows]).sum())


def test_unlabelled_tokens_have_no_loss() -> None:
    model = tiny_model(VOCABULARY)
    row = make_rows([12])[0]
    embeddings = model.get_input_embeddings()
    loss_of(model, [row]).backward()
    last = max(index for index, label in enumerate(row["labels"]) if label != IGNORE_INDEX)
    appended = {"input_ids": row["input_ids"] + [1, 2, 3], "labels": row["labels"] + [IGNORE_INDEX] * 3}
    torch.testing.assert_close(loss_of(model, [appended]), loss_of(model, [row]))
    assert last == 11
    assert embeddings.weight.grad is not None


def test_left_padding_is_masked_and_right_padding_needs_no_mask() -> None:
    model = tiny_model(VOCABULARY)
    rows = make_rows([9, 14])
    right = PaddingCollator(0)(rows)
    left = {key: torch.stack([values[0].roll(5), values[1]]) for key, values in right.items()}
    torch.testing.assert_close(
        token_loss(supervised_logits(model, left, select=True, use_cache=False)), loss_of(model, rows)
    )
    seen: list[set[str]] = []
    model.register_forward_pre_hook(lambda _, __, options: seen.append(set(options)), with_kwargs=True)
    for batch in (left, right):
        supervised_logits(model, batch, select=True, use_cache=False)
    assert ["attention_mask" in options for options in seen] == [True, False]


def test_a_model_without_logits_to_keep_gives_the_same_loss() -> None:
    model = tiny_model(VOCABULARY)
    rows = make_rows([9, 14])
    torch.testing.assert_close(loss_of(model, rows, select=False), loss_of(model, rows))
    assert takes_logits_to_keep(model)
    assert not takes_logits_to_keep(torch.nn.Linear(2, 2))


def test_logits_are_computed_only_at_labelled_positions() -> None:
    batch = PaddingCollator(0)(make_rows([40]))
    scored = supervised_logits(tiny_model(VOCABULARY), batch, select=True, use_cache=False)
    n_labels = int((batch["labels"] != IGNORE_INDEX).sum())
    assert scored.logits.shape == (1, n_labels, VOCABULARY)
    assert n_labels < 20


def test_a_batch_without_labels_has_no_loss() -> None:
    row = {"input_ids": [1, 2, 3], "labels": [IGNORE_INDEX] * 3}
    assert loss_of(tiny_model(VOCABULARY), [row]).item() == pytest.approx(0.0)
