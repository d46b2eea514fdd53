"""What a causal language model computes after its decoder, applied to chosen hidden states. Computes no loss.

Models differ in what turns a hidden state into logits: a tied or own head, a scale, a soft cap. Here the model's own
code does it, on hidden states in the place of the decoder's, so nothing about an architecture is repeated.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, NamedTuple

import torch
from torch import nn
from transformers import PreTrainedModel


class LanguageHead:
    """The function from hidden states [rows, size] to logits [rows, vocabulary] of the model that `decode` ran."""

    def __init__(self, causal: PreTrainedModel, output_type: type[Any]) -> None:
        self._causal, self._output_type = causal, output_type

    def __call__(self, hidden: torch.Tensor) -> torch.Tensor:
        ids = torch.zeros(1, len(hidden), dtype=torch.int64, device=hidden.device)
        with _returning(self._causal.base_model, self._output_type(last_hidden_state=hidden[None])):
            logits = self._causal(input_ids=ids).logits[0]
        assert isinstance(logits, torch.Tensor)
        return logits

    def trained_weights(self) -> list[nn.Parameter]:
        """Return the trained weights that logits depend on and hidden states do not."""
        decoder = {id(weight) for weight in self._causal.base_model.parameters()}
        return [weight for weight in self._causal.parameters() if weight.requires_grad and id(weight) not in decoder]


class Decoded(NamedTuple):
    """Hidden states [batch, tokens, size], the logits [batch, vocabulary] of the last ones, and what made these."""

    hidden: torch.Tensor
    last_logits: torch.Tensor
    head: LanguageHead


def has_language_head(model: nn.Module) -> bool:
    """Whether `decode` may run the model: one of transformers whose decoder is a module of its own."""
    causal = _causal(model)
    return causal is not None and causal.base_model is not causal


def decode(model: nn.Module, inputs: Mapping[str, Any], **options: Any) -> Decoded:
    """Run a model that takes `logits_to_keep`, with or without an adapter and wrappers, and keep its hidden states."""
    causal = _causal(model)
    assert causal is not None
    outputs: list[Any] = []
    hook = causal.base_model.register_forward_hook(lambda module, args, output: outputs.append(output))
    try:
        last = model(**inputs, logits_to_keep=1, **options).logits[:, 0]
    finally:
        hook.remove()
    return Decoded(outputs[-1].last_hidden_state, last, LanguageHead(causal, type(outputs[-1])))


@contextmanager
def _returning(decoder: nn.Module, output: Any) -> Iterator[None]:
    """Inside the block, the decoder returns this output, whatever its input."""
    decoder.forward = lambda *args, **options: output
    try:
        yield
    finally:
        del decoder.forward


def _causal(model: nn.Module) -> PreTrainedModel | None:
    return next((module for module in model.modules() if isinstance(module, PreTrainedModel)), None)
