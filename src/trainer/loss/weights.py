"""How much each supervised token counts in the loss. Computes no loss.

A turn is a run of neighbouring labels. Its first token decides whether it calls a tool or talks, its last one, the stop
token, whether anything follows, and the name of a called tool which one; most other tokens follow from these. A mean
over tokens lets long turns decide, so a model can have a low loss and yet call tools where none is needed.
"""

from collections.abc import Callable, Sequence
from typing import Literal

import torch

from trainer.types import IGNORE_INDEX

LossWeighting = Literal["token", "turn", "decision"]

DECISION_WEIGHT = 8.0
"""What a deciding token counts in addition. In turns of 64 tokens, both together have a fifth of the weight."""

NAME_WEIGHT = 4.0
"""What each token of a called tool's name counts in addition."""

Places = Callable[[Sequence[int]], Sequence[int]]
"""Which tokens of a turn, by index, name the tools that it calls."""


def token_weights(labels: torch.Tensor, weighting: LossWeighting, *, names: Places = lambda turn: ()) -> torch.Tensor:
    """Return the weight of every predicted token, float32 [batch, tokens - 1], for labels [batch, tokens].

    `token`: every token counts 1. `turn`: the tokens of a turn share the weight 1. `decision`: every token counts 1,
    the first and the last one of a turn `DECISION_WEIGHT` more, and those that `names` finds `NAME_WEIGHT` more.
    """
    predicted = labels[:, 1:] != IGNORE_INDEX
    weights = predicted.float()
    if weighting == "token":
        return weights
    before, after = (torch.nn.functional.pad(predicted, pad) for pad in ((1, -1), (-1, 1)))
    first, last = predicted & ~before, predicted & ~after
    if weighting == "turn":
        turns = first.flatten().cumsum(0)  # the number of the turn, from 1
        sizes = torch.zeros(turns.numel() + 1, device=labels.device).index_add_(0, turns, weights.flatten())
        return weights / sizes[turns].view_as(weights).clamp(min=1)
    weights += DECISION_WEIGHT * (first.float() + last.float())
    named = torch.zeros_like(weights, device="cpu")  # a GPU waits once, not for every turn
    rows, starts, ends = labels.tolist(), first.nonzero().tolist(), last.nonzero().tolist()
    for (row, start), (_, end) in zip(starts, ends, strict=True):
        named[row, [start + place for place in names(rows[row][start + 1 : end + 2])]] = NAME_WEIGHT
    return weights + named.to(weights.device)
