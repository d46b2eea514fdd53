"""Replace transformers' attention and mask functions for the length of a block. Implements no attention itself."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn
from transformers import AttentionInterface, AttentionMaskInterface
from transformers.masking_utils import ALL_MASK_ATTENTION_FUNCTIONS, sdpa_mask

from trainer.kernels.trial import pretrained_model

AttentionFunction = Callable[..., tuple[Any, None]]
MaskFunction = Callable[..., torch.Tensor | None]


def replaceable_attention(model: nn.Module) -> str | None:
    """The name of a model's attention implementation; None if it cannot be replaced by another one.

    Models with older or custom code only check for the names that they know, or make their masks themselves.
    """
    base = pretrained_model(model)
    return base.config._attn_implementation if base is not None and base._supports_attention_backend else None


def needs_eager(model: nn.Module) -> bool:
    """Whether a model that does not use torch's kernel (`sdpa`) has features that the kernel lacks."""
    base = pretrained_model(model)
    softcap = base is not None and getattr(base.config.get_text_config(), "attn_logit_softcapping", None)
    return base is None or not base._supports_sdpa or bool(softcap)


@contextmanager
def attend_with(
    model: nn.Module, name: str, function: AttentionFunction, mask: MaskFunction = sdpa_mask
) -> Iterator[None]:
    """Inside the block, `model` attends with `function`, registered as `name`, and `mask` makes its masks."""
    AttentionInterface.register(name, function)
    AttentionMaskInterface.register(name, mask)
    with _implementation(model, name):
        yield


@contextmanager
def attend_eagerly(model: nn.Module, mask: MaskFunction) -> Iterator[None]:
    """Inside the block, `model` attends with its own code (`eager`), and `mask` makes its masks."""
    ALL_MASK_ATTENTION_FUNCTIONS["eager"] = mask
    try:
        with _implementation(model, "eager"):
            yield
    finally:
        del ALL_MASK_ATTENTION_FUNCTIONS["eager"]


@contextmanager
def _implementation(model: nn.Module, name: str) -> Iterator[None]:
    base: Any = pretrained_model(model)
    configs = [base.config, base.config.get_text_config()]
    before = [config._attn_implementation for config in configs]
    for config in configs:
        config._attn_implementation = name
    try:
        yield
    finally:
        for config, original in zip(configs, before, strict=True):
            config._attn_implementation = original
