"""Score the positions of gold tokens: the most likely token, gold's likelihood, and how near the model is to a call."""

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch.nn import functional

from trainer.generation.logit_bias import biased
from trainer.generation.settings import DecodeSettings
from trainer.types import CallMargins, ToolEvalExample

_LOGIT_ROWS = 128  # positions whose vocabulary-wide logits are converted to float32 at a time


class PositionScores(NamedTuple):
    """At each position: the arg-max token, gold's negative log likelihood (nats, float32), and the margin of a call.

    The margin is the largest logit of the tokens that begin a call, minus the largest of all others.
    """

    greedy: list[int]
    nll: list[float]
    margins: list[float]


def score_positions(logits: torch.Tensor, targets: torch.Tensor, settings: DecodeSettings) -> PositionScores:
    """Score logits [positions, vocabulary] against gold tokens [positions].

    Only the arg-max depends on the bias of the settings. There are no margins if they name no token that begins a call.
    """
    scores = PositionScores([], [], [])
    openings = torch.tensor(settings.call_token_ids, dtype=torch.int64, device=logits.device)
    for rows, gold in zip(logits.split(_LOGIT_ROWS), targets.split(_LOGIT_ROWS), strict=True):
        scores.greedy.extend(biased(rows, settings.logit_bias).argmax(dim=-1).tolist())
        scores.nll.extend(functional.cross_entropy(rows.float(), gold, reduction="none").tolist())
        if len(openings):
            others = rows.float().index_fill(-1, openings, float("-inf")).amax(dim=-1)
            scores.margins.extend((rows[:, openings].float().amax(dim=-1) - others).tolist())
    return scores


def turn_margins(margins: Sequence[float], example: ToolEvalExample, openings: Sequence[int]) -> CallMargins | None:
    """Return the margins of a turn, from those at its gold tokens.

    None if there are no openings, or if gold's call begins with another token.
    """
    if not openings:
        return None
    begins = [token in openings for token in example.target_ids]
    # An opening in prose shows no call, and a later one in a call turn begins another call.
    others = [(place, margin) for place, margin in enumerate(margins) if not begins[place]]
    if not example.gold_calls:
        return CallMargins(max((margin for _, margin in others), default=-math.inf))
    if not any(begins):
        return None
    first = begins.index(True)
    return CallMargins(margins[first], max((margin for place, margin in others if place > first), default=-math.inf))
