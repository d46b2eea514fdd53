"""Cross entropy of hidden states through a model's head, a tile of rows at a time.

No tensor of [rows, vocabulary] exists for all rows: the logits of a tile are freed before those of the next one. The
gradient is computed together with the loss, because it needs the same logits (as in Hsu et al. 2024, Liger Kernel).
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from torch.autograd.function import once_differentiable

from trainer.loss.cross_entropy import summed_cross_entropy

# Logits computed at once, by type of device: enough rows for fast matrix products, and a small part of the memory.
_N_AT_ONCE = {"cpu": 2**24, "cuda": 2**27}

Head = Callable[[torch.Tensor], torch.Tensor]


class _TiledCrossEntropy(torch.autograd.Function):
    """Shapes: hidden [rows, size]; targets int64, row_weights float32 [rows]; `trained` are weights of the head."""

    @staticmethod
    def forward(
        ctx: Any,
        head: Head,
        targets: torch.Tensor,
        row_weights: torch.Tensor,
        vocabulary: int,
        smoothing: float,
        differentiated: bool,
        hidden: torch.Tensor,
        *trained: torch.Tensor,
    ) -> torch.Tensor:
        total = torch.zeros((), dtype=torch.float32, device=hidden.device)
        grad_hidden = torch.empty_like(hidden) if differentiated else None
        grads = [torch.zeros_like(weight) for weight in trained]
        for rows in _tiles(len(hidden), vocabulary, hidden.device.type):
            tile = hidden[rows].detach().requires_grad_(differentiated)
            with torch.set_grad_enabled(differentiated):
                loss = summed_cross_entropy(head(tile), targets[rows], row_weights[rows], label_smoothing=smoothing)
            total += loss.detach()
            if grad_hidden is not None:
                grad_hidden[rows], *of_weights = torch.autograd.grad(loss, [tile, *trained], allow_unused=True)
                for grad, addend in zip(grads, of_weights, strict=True):
                    grad += 0 if addend is None else addend
        if grad_hidden is not None:
            ctx.save_for_backward(grad_hidden, *grads)
        return total

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_output: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        return None, None, None, None, None, None, *(grad * grad_output for grad in ctx.saved_tensors)


def _tiles(n_rows: int, vocabulary: int, device: str) -> Iterator[slice]:
    """Yield slices of rows, of about equal size."""
    most = max(1, _N_AT_ONCE.get(device, 2**24) // vocabulary)
    n_tiles = -(-n_rows // most)
    step = -(-n_rows // max(1, n_tiles))
    for start in range(0, n_rows, max(1, step)):
        yield slice(start, min(start + step, n_rows))


def tiled_cross_entropy(
    head: Head,
    hidden: torch.Tensor,
    targets: torch.Tensor,
    row_weights: torch.Tensor,
    *,
    vocabulary: int,
    trained: Sequence[torch.Tensor] = (),
    label_smoothing: float = 0.0,
) -> torch.Tensor:
    """The weighted sum of the cross entropies (float32, nats) of `head(hidden)` and `targets`.

    `hidden` is [rows, size], `targets` int64 [rows], `row_weights` float32 [rows]. Gradients flow to `hidden` and to
    `trained`, the trained weights that `head` uses; they can be computed once.
    """
    differentiated = torch.is_grad_enabled() and any(tensor.requires_grad for tensor in (hidden, *trained))
    loss = _TiledCrossEntropy.apply(  # type: ignore[no-untyped-call]
        head, targets, row_weights, vocabulary, label_smoothing, differentiated, hidden, *trained
    )
    assert isinstance(loss, torch.Tensor)
    return loss
