"""Put attention and mask functions of our own in the place of transformers' for a while. Knows no such function."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn
from transformers import AttentionInterface, AttentionMaskInterface, PreTrainedModel
from transformers.masking_utils import ALL_MASK_ATTENTION_FUNCTIONS, sdpa_mask

AttentionFunction = Callable[..., tuple[Any, None]]
MaskFunction = Callable[..., torch.Tensor | None]


def chosen_attention(model: nn.Module) -> str | None:
    """By which of transformers' implementations a model attends, if it takes others in its place; None if not.

    Models of older design, or of their own, know a few names and test for them, or make masks by themselves.
    """
    base = _base(model)
    return base.config._attn_implementation if base is not None and base._supports_attention_backend else None


def needs_own_code(model: nn.Module) -> bool:
    """Whether a model that does not attend by torch's kernel (`sdpa`) has features that the kernel lacks."""
    base = _base(model)
    softcap = base is not None and getattr(base.config.get_text_config(), "attn_logit_softcapping", None)
    return base is None or not base._supports_sdpa or bool(softcap)


@contextmanager
def attend_with(
    model: nn.Module, name: str, function: AttentionFunction, mask: MaskFunction = sdpa_mask
) -> Iterator[None]:
    """Within it, `model` calls `function`, known to transformers by `name`, for a mask that `mask` makes."""
    AttentionInterface.register(name, function)
    AttentionMaskInterface.register(name, mask)
    with _named(model, name):
        yield


@contextmanager
def attend_plainly(model: nn.Module, mask: MaskFunction) -> Iterator[None]:
    """Within it, `model` attends by its own plain code (`eager`), for a mask that `mask` makes."""
    ALL_MASK_ATTENTION_FUNCTIONS["eager"] = mask
    try:
        with _named(model, "eager"):
            yield
    finally:
        del ALL_MASK_ATTENTION_FUNCTIONS["eager"]


@contextmanager
def _named(model: nn.Module, name: str) -> Iterator[None]:
    base: Any = _base(model)
    configs = [base.config, base.config.get_text_config()]
    before = [config._attn_implementation for config in configs]
    for config in configs:
        config._attn_implementation = name
    try:
        yield
    finally:
        for config, own in zip(configs, before, strict=True):
            config._attn_implementation = own


def _base(model: nn.Module) -> PreTrainedModel | None:
    """The model itself under adapters and the wrappers of distributed training."""
    return next((module for module in model.modules() if isinstance(module, PreTrainedModel)), None)
