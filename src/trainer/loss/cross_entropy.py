"""Cross entropy of given logits, in float32, a few rows at a time.

A float32 copy of the logits, their log-softmax and its gradient are each as large as the logits. Here they exist for
only a few rows at a time, which fit into a processor's cache, and the backward pass computes the probabilities again
from one number per row (as in Hsu et al. 2024, Liger Kernel).
"""

from collections.abc import Iterator
from typing import Any

import torch
from torch.autograd.function import once_differentiable

from trainer.types import IGNORE_INDEX

# Numbers processed at once in float32, by type of device: what a cache holds, and a small part of a GPU's memory.
_N_AT_ONCE = {"cpu": 2**20, "cuda": 2**26}


class _SummedCrossEntropy(torch.autograd.Function):
    """Shapes: logits [rows, vocabulary]; targets int64 [rows], -100 for a row without loss; weights float32 [rows]."""

    @staticmethod
    def forward(
        ctx: Any, logits: torch.Tensor, targets: torch.Tensor, weights: torch.Tensor, smoothing: float
    ) -> torch.Tensor:
        log_normalizers = logits.new_empty(len(logits), dtype=torch.float32)
        losses = torch.empty_like(log_normalizers)
        for rows, scores in _in_float32(logits):
            log_normalizers[rows] = torch.logsumexp(scores, dim=-1)
            expected = scores.gather(1, _columns(targets[rows])).squeeze(1)
            if smoothing:
                expected = (1 - smoothing) * expected + smoothing * scores.mean(dim=-1)
            losses[rows] = log_normalizers[rows] - expected
        ctx.save_for_backward(logits, targets, weights, log_normalizers)
        ctx.smoothing = smoothing
        return losses.mul_(weights).masked_fill_(targets == IGNORE_INDEX, 0.0).sum()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_output: torch.Tensor) -> tuple[torch.Tensor, None, None, None]:
        logits, targets, weights, log_normalizers = ctx.saved_tensors
        grad = torch.empty_like(logits)
        slopes = grad_output * weights.masked_fill(targets == IGNORE_INDEX, 0.0)
        for rows, scores in _in_float32(logits):
            slope = scores.sub_(log_normalizers[rows, None]).exp_()
            if ctx.smoothing:
                slope -= ctx.smoothing / logits.shape[1]
            slope.scatter_add_(1, _columns(targets[rows]), slope.new_full((len(slope), 1), ctx.smoothing - 1))
            grad[rows] = slope.mul_(slopes[rows, None])
        return grad, None, None, None


def _columns(targets: torch.Tensor) -> torch.Tensor:
    """Targets as column indices [rows, 1]; a row without a target gets any column and does not count."""
    return targets.masked_fill(targets == IGNORE_INDEX, 0)[:, None]


def _in_float32(logits: torch.Tensor) -> Iterator[tuple[slice, torch.Tensor]]:
    """Yield a few rows at a time as a float32 copy, which may be changed and is valid until the next one."""
    n_rows, vocabulary = logits.shape
    step = max(1, min(n_rows, _N_AT_ONCE.get(logits.device.type, 2**24) // vocabulary))
    memory = logits.new_empty(step, vocabulary, dtype=torch.float32)
    for start in range(0, n_rows, step):
        rows = slice(start, min(start + step, n_rows))
        yield rows, memory[: rows.stop - start].copy_(logits[rows])


def summed_cross_entropy(
    logits: torch.Tensor, targets: torch.Tensor, weights: torch.Tensor | None = None, *, label_smoothing: float = 0.0
) -> torch.Tensor:
    """The sum of the cross entropies (float32, nats) of `logits` [rows, vocabulary] and `targets` [rows].

    Each row counts as much as `weights` (float32 [rows]) say, by default 1. Then it equals, in value and in gradient,
    `torch.nn.functional.cross_entropy(logits.float(), targets, ignore_index=-100, reduction="sum")` with the same
    smoothing.
    """
    if weights is None:
        weights = torch.ones(len(targets), device=targets.device)
    loss = _SummedCrossEntropy.apply(logits, targets, weights, label_smoothing)  # type: ignore[no-untyped-call]
    assert isinstance(loss, torch.Tensor)
    return loss
