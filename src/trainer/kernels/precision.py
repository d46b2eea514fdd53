"""Mixed precision of adapters on a CPU. Knows no training loop."""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext

import torch
from peft.tuners.tuners_utils import BaseTunerLayer
from torch import nn


def computes_in_bfloat16(model: nn.Module) -> bool:
    """Whether a model lies on the CPU with frozen weights in bfloat16, so that its adapter should follow.

    The adapter's own weights stay in float32 for the optimizer; without autocast, its products and every copy of
    its inputs would be made in float32, which costs a tenth of a training step.
    """
    frozen = next((p for p in model.parameters() if not p.requires_grad and p.is_floating_point()), None)
    return frozen is not None and frozen.device.type == "cpu" and frozen.dtype == torch.bfloat16


def let_autocast_choose(model: nn.Module) -> None:
    """Stop adapter layers from turning their input into float32 before autocast turns it back."""
    for module in model.modules():
        if isinstance(module, BaseTunerLayer):
            module.cast_input_dtype_enabled = False  # type: ignore[assignment]


def bfloat16_autocast(active: bool) -> AbstractContextManager[object]:
    """Within it, matrix products on the CPU are made in bfloat16."""
    return torch.autocast("cpu", dtype=torch.bfloat16) if active else nullcontext()


@contextmanager
def evaluation_precision(model: nn.Module) -> Iterator[None]:
    """Within it, an adapted model multiplies in the precision in which a run evaluates it."""
    active = computes_in_bfloat16(model)
    if active:
        let_autocast_choose(model)
    with bfloat16_autocast(active):
        yield
