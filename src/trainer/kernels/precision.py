"""Mixed precision for adapters, on a CPU and on a GPU."""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext

import torch
from peft.tuners.tuners_utils import BaseTunerLayer
from torch import nn

_DEVICES = ("cpu", "cuda")


def computes_in_bfloat16(model: nn.Module) -> bool:
    """Whether the frozen weights of a model on a CPU or an NVIDIA GPU are in bfloat16, so its adapter should be too.

    The adapter's weights stay in float32 for the optimizer. Without autocast, its products and every copy of its
    inputs would also be in float32, which costs a tenth of a training step on a CPU.
    """
    frozen = next((p for p in model.parameters() if not p.requires_grad and p.is_floating_point()), None)
    return frozen is not None and frozen.device.type in _DEVICES and frozen.dtype == torch.bfloat16


def let_autocast_choose(model: nn.Module) -> None:
    """Stop adapter layers from converting their input to float32, which autocast would convert back."""
    for module in model.modules():
        if isinstance(module, BaseTunerLayer):
            module.cast_input_dtype_enabled = False  # type: ignore[assignment]


def bfloat16_autocast(model: nn.Module, *, active: bool = True) -> AbstractContextManager[object]:
    """Inside the block, matrix products on the model's device run in bfloat16, if `active`."""
    if not active:
        return nullcontext()
    return torch.autocast(next(model.parameters()).device.type, dtype=torch.bfloat16)


@contextmanager
def evaluation_precision(model: nn.Module) -> Iterator[None]:
    """Inside the block, an adapted model computes in the precision that a run's evaluation uses."""
    active = computes_in_bfloat16(model)
    if active:
        let_autocast_choose(model)
    with bfloat16_autocast(model, active=active):
        yield
