"""Try a replacement of a module's code on a model before it is used. Replaces nothing for good."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn
from transformers import PreTrainedModel

_ROUNDING = {torch.float32: 1e-4, torch.float16: 2e-2}
_COARSE_ROUNDING = 6e-2  # of bfloat16, and of weights in fewer bits


def pretrained_model(model: nn.Module) -> PreTrainedModel | None:
    """The model of transformers itself, without adapters and the wrappers of distributed training."""
    return next((module for module in model.modules() if isinstance(module, PreTrainedModel)), None)


@contextmanager
def replaced_forward(module: nn.Module, forward: Callable[..., Any]) -> Iterator[None]:
    """Inside the block, `module` computes with `forward`; afterwards as before, also if another library set that."""
    own = vars(module).get("forward")
    module.forward = forward
    try:
        yield
    finally:
        if own is None:
            del module.forward
        else:
            module.forward = own


@contextmanager
def kept_mode(model: nn.Module) -> Iterator[None]:
    """Inside the block, modules may be put into training or evaluation mode; afterwards each is as before."""
    modes = [(module, module.training) for module in model.modules()]
    try:
        yield
    finally:
        for module, training in modes:
            module.training = training


def equal_within_rounding(found: torch.Tensor, expected: torch.Tensor, *, dtype: torch.dtype) -> bool:
    """Whether two results of a few layers whose weights have this `dtype` differ by rounding at most."""
    found, expected = found.detach().float(), expected.detach().float()
    if found.shape != expected.shape:
        return False
    return bool((found - expected).abs().max() <= _ROUNDING.get(dtype, _COARSE_ROUNDING) * expected.abs().max())
