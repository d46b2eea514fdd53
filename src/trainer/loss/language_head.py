"""What a causal language model computes after its decoder, applied to chosen hidden states. Computes no loss.

Models differ in what turns a hidden state into logits: a tied or own head, a scale, a soft cap. Here the model's own
code does it, on hidden states in the place of the decoder's, so nothing about an architecture is repeated.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

import torch
from torch import nn
from transformers import PreTrainedModel

from trainer.kernels.trial import pretrained_model, replaced_forward


class LanguageHead:
    """The function from hidden states [rows, size] to logits [rows, vocabulary] of the model that `decode` ran."""

    def __init__(self, causal: PreTrainedModel, output_type: type[Any]) -> None:
        self._causal, self._output_type = causal, output_type

    def __call__(self, hidden: torch.Tensor) -> torch.Tensor:
        ids = torch.zeros(1, len(hidden), dtype=torch.int64, device=hidden.device)
        output = self._output_type(last_hidden_state=hidden[None])
        with replaced_forward(self._causal.base_model, lambda *args, **options: output):
            logits = self._causal(input_ids=ids).logits[0]
        assert isinstance(logits, torch.Tensor)
        return logits

    def trained_weights(self) -> list[nn.Parameter]:
        """Return the trained weights of modules outside the decoder, also those that the decoder shares."""
        decoder = set(self._causal.base_model.modules())
        weights = [
            weight
            for module in self._causal.modules()
            if module not in decoder
            for weight in module.parameters(recurse=False)
            if weight.requires_grad
        ]
        return list(dict.fromkeys(weights))


class Decoded(NamedTuple):
    """Hidden states [batch, tokens, size], the logits [batch, vocabulary] of the last ones, and the head for them."""

    hidden: torch.Tensor
    last_logits: torch.Tensor
    head: LanguageHead


def has_language_head(model: nn.Module) -> bool:
    """Whether `decode` may run the model: one of transformers whose decoder is a module of its own."""
    causal = pretrained_model(model)
    return causal is not None and causal.base_model is not causal


def decode(model: nn.Module, inputs: Mapping[str, Any], **options: Any) -> Decoded | None:
    """Run a model that takes `logits_to_keep`, with or without adapter and wrappers, and keep its hidden states.

    Returns None for a model that uses a part of its decoder only, so that there is nothing to keep.
    """
    causal = pretrained_model(model)
    assert causal is not None
    outputs: list[Any] = []
    hook = causal.base_model.register_forward_hook(lambda module, args, output: outputs.append(output))
    try:
        last = model(**inputs, logits_to_keep=1, **options).logits[:, -1]
    finally:
        hook.remove()
    hidden = getattr(outputs[-1], "last_hidden_state", None) if outputs else None
    return None if hidden is None else Decoded(hidden, last, LanguageHead(causal, type(outputs[-1])))
