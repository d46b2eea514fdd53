"""The loss counts only supervised tokens and does not depend on batching."""

from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import torch
from torch.nn import functional

import trainer.loss as module
from tests.support.quick import tiny_model
from trainer.collate import PaddingCollator
from trainer.lora_model import takes_logits_to_keep
from trainer.loss import summed_cross_entropy, supervised_logits, token_loss
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


N_ROWS = 13


@contextmanager
def rows_at_once(n_rows: int) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(module._N_AT_ONCE, "cpu", n_rows * VOCABULARY)
        yield


def make_case(dtype: torch.dtype = torch.float32) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(3)
    logits = (torch.randn(N_ROWS, VOCABULARY, generator=generator) * 5).to(dtype)
    targets = torch.randint(VOCABULARY, (N_ROWS,), generator=generator)
    targets[[0, 5]] = IGNORE_INDEX
    return logits, targets


def value_and_gradient(loss: torch.Tensor, logits: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    (gradient,) = torch.autograd.grad(loss / 7, logits)
    return loss.detach(), gradient


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
@pytest.mark.parametrize("n_rows", [1, 4, 100])
def test_value_and_gradient_equal_torchs(n_rows: int, smoothing: float) -> None:
    logits, targets = make_case()
    logits.requires_grad_()
    expected = functional.cross_entropy(
        logits, targets, ignore_index=IGNORE_INDEX, reduction="sum", label_smoothing=smoothing
    )
    with rows_at_once(n_rows):
        got = value_and_gradient(summed_cross_entropy(logits, targets, label_smoothing=smoothing), logits)
    torch.testing.assert_close(got, value_and_gradient(expected, logits))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_low_precision_is_computed_in_float32_and_its_gradient_rounded_once(dtype: torch.dtype) -> None:
    logits, targets = make_case(dtype)
    logits = logits.T.contiguous().T.requires_grad_()  # any memory layout will do
    exact = logits.detach().float().requires_grad_()
    loss, gradient = value_and_gradient(summed_cross_entropy(logits, targets), logits)
    expected, exact_gradient = value_and_gradient(summed_cross_entropy(exact, targets), exact)
    assert loss.dtype == torch.float32
    torch.testing.assert_close(loss, expected)
    torch.testing.assert_close(gradient, exact_gradient.to(dtype), rtol=0, atol=0)


def test_huge_logits_do_not_overflow() -> None:
    logits, targets = make_case()
    large = (logits * 1e4).requires_grad_()
    loss, gradient = value_and_gradient(summed_cross_entropy(large, targets), large)
    assert loss.isfinite()
    assert gradient.isfinite().all()


def test_rows_without_a_target_have_no_gradient_and_other_rows_have_one() -> None:
    logits, targets = make_case()
    logits.requires_grad_()
    _, gradient = value_and_gradient(summed_cross_entropy(logits, targets), logits)
    assert gradient.any(dim=1).tolist() == (targets != IGNORE_INDEX).tolist()


def test_a_target_outside_the_vocabulary_is_an_error() -> None:
    logits, targets = make_case()
    for wrong in (-1, VOCABULARY):
        with pytest.raises(RuntimeError):
            summed_cross_entropy(logits, torch.full_like(targets, wrong))


def test_without_targets_the_loss_is_zero() -> None:
    logits = torch.zeros(0, VOCABULARY, requires_grad=True)
    loss, gradient = value_and_gradient(summed_cross_entropy(logits, torch.zeros(0, dtype=torch.int64)), logits)
    assert loss.item() == 0.0
    assert gradient.shape == logits.shape


def test_the_backward_pass_keeps_only_the_logits_the_targets_and_one_number_per_row() -> None:
    logits, targets = make_case(torch.bfloat16)
    logits.requires_grad_()
    kept: list[int] = []

    def note(tensor: torch.Tensor) -> torch.Tensor:
        kept.append(tensor.nbytes)
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
        summed_cross_entropy(logits, targets)
    assert sum(kept) == logits.nbytes + targets.nbytes + 4 * N_ROWS
