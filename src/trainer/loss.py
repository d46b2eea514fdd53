"""Cross entropy over supervised tokens, with logits computed only where a label is. Knows no Trainer."""

import inspect
from collections.abc import Mapping
from typing import Any, NamedTuple

import torch
from peft import PeftModel
from torch import nn

from trainer.cross_entropy import summed_cross_entropy
from trainer.types import IGNORE_INDEX


class SupervisedLogits(NamedTuple):
    """`logits` [batch, positions, vocabulary] and the `targets` [batch, positions] that they predict."""

    logits: torch.Tensor
    targets: torch.Tensor


def takes_logits_to_keep(model: nn.Module) -> bool:
    """Whether the (possibly adapted) model computes logits at chosen positions only."""
    base = model.get_base_model() if isinstance(model, PeftModel) else model
    return "logits_to_keep" in inspect.signature(type(base).forward).parameters


def supervised_logits(
    model: nn.Module, batch: Mapping[str, torch.Tensor], *, select: bool, **options: Any
) -> SupervisedLogits:
    """Run the model on `input_ids` and `attention_mask`, with logits where some row of the batch has a label.

    Token t+1 is predicted at position t. Tool-call rows are mostly schema, context and results, so that most
    positions need no logits; their vocabulary-wide rows are the largest tensor of a step. `select` says that
    the model takes an index tensor as `logits_to_keep` (see `takes_logits_to_keep`).
    """
    shifted = batch["labels"][:, 1:]
    positions = (shifted != IGNORE_INDEX).any(dim=0).nonzero().squeeze(1)  # int64 [positions]
    targets = shifted[:, positions]
    inputs = {"input_ids": batch["input_ids"]}
    if not _is_padded_on_the_right(batch["attention_mask"]):
        inputs["attention_mask"] = batch["attention_mask"]
    if select:
        return SupervisedLogits(model(**inputs, logits_to_keep=positions, **options).logits, targets)
    return SupervisedLogits(model(**inputs, **options).logits[:, positions], targets)


def _is_padded_on_the_right(attention_mask: torch.Tensor) -> bool:
    """Whether no token follows padding. A causal model then needs no mask, and kernels are faster without one."""
    return not (attention_mask[:, 1:] > attention_mask[:, :-1]).any()


def n_supervised(batch: Mapping[str, torch.Tensor]) -> torch.Tensor:
    """How many tokens of a batch are predicted with loss."""
    return (batch["labels"][:, 1:] != IGNORE_INDEX).sum()


def token_loss(scored: SupervisedLogits, *, label_smoothing: float = 0.0) -> torch.Tensor:
    """The sum of the negative log likelihoods (nats) of all supervised tokens of a batch, in float32."""
    return summed_cross_entropy(scored.logits.flatten(0, 1), scored.targets.flatten(), label_smoothing=label_smoothing)
