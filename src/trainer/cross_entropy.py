"""Summed cross entropy over a large vocabulary, a few rows at a time. Knows no model.

A float32 copy of the logits, their log-softmax and its gradient are each as large as the largest tensor of a
training step. Here they exist for some rows only, small enough for a processor's cache, and the backward pass
computes the probabilities anew from one number per row (as in Hsu et al. 2024, Liger Kernel).
"""

from collections.abc import Iterator
from typing import Any

import torch
from torch.autograd.function import once_differentiable

from trainer.types import IGNORE_INDEX

# Numbers that are handled at once in float32, by type of device: a cache's worth, and a fraction of a GPU's memory.
_N_AT_ONCE = {"cpu": 2**20, "cuda": 2**26}


class _SummedCrossEntropy(torch.autograd.Function):
    """Shapes: logits [rows, vocabulary]; targets int64 [rows], -100 where a row carries no loss."""

    @staticmethod
    def forward(ctx: Any, logits: torch.Tensor, targets: torch.Tensor, smoothing: float) -> torch.Tensor:
        log_normalizers = logits.new_empty(len(logits), dtype=torch.float32)
        losses = torch.empty_like(log_normalizers)
        for rows, scores in _in_float32(logits):
            log_normalizers[rows] = torch.logsumexp(scores, dim=-1)
            expected = scores.gather(1, _columns(targets[rows])).squeeze(1)
            if smoothing:
                expected = (1 - smoothing) * expected + smoothing * scores.mean(dim=-1)
            losses[rows] = log_normalizers[rows] - expected
        ctx.save_for_backward(logits, targets, log_normalizers)
        ctx.smoothing = smoothing
        return losses.masked_fill_(targets == IGNORE_INDEX, 0.0).sum()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_output: torch.Tensor) -> tuple[torch.Tensor, None, None]:
        logits, targets, log_normalizers = ctx.saved_tensors
        grad = torch.empty_like(logits)
        counts = targets != IGNORE_INDEX
        for rows, scores in _in_float32(logits):
            slope = scores.sub_(log_normalizers[rows, None]).exp_()
            if ctx.smoothing:
                slope -= ctx.smoothing / logits.shape[1]
            slope.scatter_add_(1, _columns(targets[rows]), slope.new_full((len(slope), 1), ctx.smoothing - 1))
            grad[rows] = slope.mul_((grad_output * counts[rows])[:, None])
        return grad, None, None


def _columns(targets: torch.Tensor) -> torch.Tensor:
    """Targets as column indices [rows, 1]; a row without a target gets any column, and counts nothing."""
    return targets.masked_fill(targets == IGNORE_INDEX, 0)[:, None]


def _in_float32(logits: torch.Tensor) -> Iterator[tuple[slice, torch.Tensor]]:
    """A few rows after the other, each time as a copy in float32 that may be changed and is good until the next."""
    n_rows, vocabulary = logits.shape
    step = max(1, min(n_rows, _N_AT_ONCE.get(logits.device.type, 2**24) // vocabulary))
    memory = logits.new_empty(step, vocabulary, dtype=torch.float32)
    for start in range(0, n_rows, step):
        rows = slice(start, min(start + step, n_rows))
        yield rows, memory[: rows.stop - start].copy_(logits[rows])


def summed_cross_entropy(logits: torch.Tensor, targets: torch.Tensor, *, label_smoothing: float = 0.0) -> torch.Tensor:
    """The sum (float32, nats) of the cross entropies of `logits` [rows, vocabulary] and `targets` [rows].

    Equals `torch.nn.functional.cross_entropy(logits.float(), targets, ignore_index=-100, reduction="sum")`
    with the same smoothing, in value and in gradient.
    """
    loss = _SummedCrossEntropy.apply(logits, targets, label_smoothing)  # type: ignore[no-untyped-call]
    assert isinstance(loss, torch.Tensor)
    return loss
