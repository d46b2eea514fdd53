"""Put attention and mask functions of our own in the place of transformers' for a while. Knows no such function."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from peft import PeftModel
from torch import nn
from transformers import AttentionInterface, AttentionMaskInterface, PreTrainedModel
from transformers.masking_utils import ALL_MASK_ATTENTION_FUNCTIONS, sdpa_mask

AttentionFunction = Callable[..., tuple[Any, None]]
MaskFunction = Callable[..., torch.Tensor | None]


def chosen_attention(model: nn.Module) -> str | None:
    """The name of the implementation by which a (possibly adapted) model attends; None for another kind of model."""
    base = _base(model)
    return base.config._attn_implementation if isinstance(base, PreTrainedModel) else None


def takes_any_function(model: nn.Module) -> bool:
    """Whether a model looks its attention function up by name; others know a few names and test for them."""
    return bool(getattr(_base(model), "_supports_attention_backend", False))


def takes_kernel(model: nn.Module) -> bool:
    """Whether a model can attend by torch's kernel (`sdpa`)."""
    return bool(getattr(_base(model), "_supports_sdpa", False))


@contextmanager
def attend_with(
    model: nn.Module, name: str, function: AttentionFunction, mask: MaskFunction = sdpa_mask
) -> Iterator[None]:
    """Within it, `model` calls `function`, known to transformers by `name`, for a mask that `mask` makes.

    Only for models that take any function.
    """
    AttentionInterface.register(name, function)
    AttentionMaskInterface.register(name, mask)
    with _named(model, name):
        yield


@contextmanager
def attend_masked(model: nn.Module, name: str, mask: MaskFunction) -> Iterator[None]:
    """Within it, `model` attends by the implementation `name` of transformers, for a mask that `mask` makes."""
    ALL_MASK_ATTENTION_FUNCTIONS[name] = mask
    try:
        with _named(model, name):
            yield
    finally:
        del ALL_MASK_ATTENTION_FUNCTIONS[name]


@contextmanager
def _named(model: nn.Module, name: str) -> Iterator[None]:
    base = _base(model)
    configs = [base.config, base.config.get_text_config()]
    before = [config._attn_implementation for config in configs]
    for config in configs:
        config._attn_implementation = name
    try:
        yield
    finally:
        for config, own in zip(configs, before, strict=True):
            config._attn_implementation = own


def _base(model: nn.Module) -> Any:
    return model.get_base_model() if isinstance(model, PeftModel) else model
