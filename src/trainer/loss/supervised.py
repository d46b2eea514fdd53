"""The loss of a batch: hidden states where a label is, and cross entropy through the model's head.

Tool-call rows are mostly schema, context and results, so most positions need no logits, and the logits of a whole batch
would be the largest tensor of a step. Knows no optimizer.
"""

import logging
from collections.abc import Mapping
from typing import Any

import torch
from torch import nn

from trainer.kernels.trial import equal_within_rounding
from trainer.lora_model import is_sharded, takes_logits_to_keep
from trainer.loss.cross_entropy import summed_cross_entropy
from trainer.loss.language_head import Decoded, decode, has_language_head
from trainer.loss.tiles import tiled_cross_entropy
from trainer.types import IGNORE_INDEX

logger = logging.getLogger(__name__)


def n_supervised(batch: Mapping[str, torch.Tensor]) -> torch.Tensor:
    """The number of tokens in a batch that are predicted with loss."""
    return (batch["labels"][:, 1:] != IGNORE_INDEX).sum()


class SupervisedLoss:
    """Computes the weighted sum of the negative log likelihoods (nats, float32) of all supervised tokens of a batch.

    A batch holds `input_ids`, `attention_mask` and `labels`, each int64 [batch, tokens], and `position_ids` if its rows
    are joined; token t+1 is predicted at position t. The first batch checks that the model's head, applied to hidden
    states, computes the model's logits; otherwise, and for sharded weights, which only the model itself can gather,
    logits come from the model.
    """

    def __init__(self, model: nn.Module) -> None:
        self._selects = takes_logits_to_keep(model)
        self._applies_head = self._selects and has_language_head(model) and not is_sharded(model)
        self._checked = False

    def __call__(
        self,
        model: nn.Module,
        batch: Mapping[str, torch.Tensor],
        *,
        weights: torch.Tensor | None = None,
        label_smoothing: float = 0.0,
        **options: Any,
    ) -> torch.Tensor:
        """Run the model, with `options`, and return the loss.

        `weights` are those of predicted tokens, float32 [batch, tokens - 1]; by default, each is 1.
        """
        inputs = {key: batch[key] for key in ("input_ids", "position_ids") if key in batch}
        if not _is_padded_on_the_right(batch["attention_mask"]):
            inputs["attention_mask"] = batch["attention_mask"]
        shifted = batch["labels"][:, 1:]
        weights = (shifted != IGNORE_INDEX).float() if weights is None else weights
        # Found before the model runs: a GPU has then nothing to finish before the host knows their number.
        where = torch.nn.functional.pad(shifted != IGNORE_INDEX, (0, 1)).flatten().nonzero().squeeze(1)
        decoded = decode(model, inputs, **options) if self._applies_head else None
        if decoded is not None and self._agrees(decoded):
            return tiled_cross_entropy(
                decoded.head,
                decoded.hidden.flatten(0, 1).index_select(0, where),
                batch["labels"].flatten()[where + 1],
                torch.nn.functional.pad(weights, (0, 1)).flatten()[where],
                vocabulary=decoded.last_logits.shape[-1],
                trained=decoded.head.trained_weights(),
                label_smoothing=label_smoothing,
            )
        positions = (shifted != IGNORE_INDEX).any(dim=0).nonzero().squeeze(1)  # int64 [positions]
        if self._selects:
            logits = model(**inputs, logits_to_keep=positions, **options).logits
        else:
            logits = model(**inputs, **options).logits[:, positions]
        targets, weights = (tensor[:, positions].flatten() for tensor in (shifted, weights))
        return summed_cross_entropy(logits.flatten(0, 1), targets, weights, label_smoothing=label_smoothing)

    def _agrees(self, decoded: Decoded) -> bool:
        """Whether the head computes the model's logits, within rounding. Compared once; if not, it is not used."""
        if not self._checked:
            self._checked = True
            with torch.no_grad():
                found = decoded.head(decoded.hidden[:, -1])
            dtype = decoded.hidden.dtype
            self._applies_head = equal_within_rounding(found, decoded.last_logits, dtype=dtype)
            if not self._applies_head:
                logger.warning("the model's head cannot be applied in tiles, so logits of whole batches are computed")
        return self._applies_head


def _is_padded_on_the_right(attention_mask: torch.Tensor) -> bool:
    """Whether no token follows padding. A causal model then needs no mask, and kernels are faster without one."""
    return not (attention_mask[:, 1:] > attention_mask[:, :-1]).any()
