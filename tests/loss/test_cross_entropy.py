"""Cross entropy in blocks equals torch's, in value and in gradient, and keeps little memory."""

from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import torch
from torch.nn import functional

import trainer.loss.cross_entropy as module
from trainer.loss.cross_entropy import summed_cross_entropy
from trainer.types import IGNORE_INDEX

VOCABULARY = 50
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


def test_the_backward_pass_keeps_only_the_logits_the_targets_and_two_numbers_per_row() -> None:
    logits, targets = make_case(torch.bfloat16)
    logits.requires_grad_()
    kept: list[int] = []

    def note(tensor: torch.Tensor) -> torch.Tensor:
        kept.append(tensor.nbytes)
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
        summed_cross_entropy(logits, targets)
    assert sum(kept) == logits.nbytes + targets.nbytes + 2 * 4 * N_ROWS
