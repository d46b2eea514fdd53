"""Add LoRA's product to the frozen layer's output in place, without temporary tensors of the layer's full width.

The usual form `output + (x A^T B^T) * scaling` writes the layer's full width three times before the sum, and once
more in the backward pass. Here the narrow, rank-wide factor is scaled, and the second product is added to the output
as it is computed. Dropout's mask is made again in the backward pass, so nothing of the input's width is kept beside the
input, which sibling layers share.
"""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from peft.tuners.lora.layer import Linear, LoraVariant
from torch import nn
from torch.autograd.function import once_differentiable

from trainer.kernels.dropout_mask import DropoutMask


class _AddProduct(torch.autograd.Function):
    """Shapes: output [..., out], overwritten; x [..., in]; down [rank, in]; up [out, rank]."""

    @staticmethod
    def forward(
        ctx: Any,
        output: torch.Tensor,
        x: torch.Tensor,
        down: torch.Tensor,
        up: torch.Tensor,
        scaling: float,
        mask: DropoutMask | None,
    ) -> torch.Tensor:
        dropped = x if mask is None else mask.apply(x)[0]
        scaling *= 1.0 if mask is None else mask.scale
        narrow = _rows(dropped) @ down.T * scaling
        output.view(-1, output.shape[-1]).addmm_(narrow, up.T)  # raises an error instead of adding to a copy
        ctx.mark_dirty(output)
        ctx.save_for_backward(x, down, up, narrow)
        ctx.scaling, ctx.mask = scaling, mask
        return output

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        x, down, up, narrow = ctx.saved_tensors
        rows = _rows(grad)
        grad_narrow = rows @ up * ctx.scaling
        grad_x = (grad_narrow @ down).view(x.shape)
        if ctx.mask is not None:
            x, grad_x = ctx.mask.apply(x, grad_x)
        return grad, grad_x, grad_narrow.T @ _rows(x), rows.T @ narrow, None, None


def _rows(tensor: torch.Tensor) -> torch.Tensor:
    """The tensor with all dimensions but the last flattened into one."""
    return tensor.reshape(-1, tensor.shape[-1])


class _InPlace(LoraVariant):
    """Plain LoRA with its forward pass computed in place. Installed only while a step runs."""

    @staticmethod
    def forward(module: Any, active_adapter: str, x: torch.Tensor, result: torch.Tensor, **_: Any) -> torch.Tensor:
        down, up = (factors[active_adapter].weight.to(result.dtype) for factors in (module.lora_A, module.lora_B))
        dropout = module.lora_dropout[active_adapter]
        mask = DropoutMask.draw(dropout.p) if isinstance(dropout, nn.Dropout) and dropout.training else None
        added = _AddProduct.apply(  # type: ignore[no-untyped-call]
            result, x.to(result.dtype), down, up, module.scaling[active_adapter], mask
        )
        assert isinstance(added, torch.Tensor)
        return added


@contextmanager
def fused_lora(model: nn.Module, *, active: bool) -> Iterator[None]:
    """Inside the block, plain LoRA layers on plain linear layers of `model` add in place, if `active`.

    Other layers, such as those on quantized weights or weights in float16, are unchanged. The products have the
    precision of the frozen layer's output, as under autocast.
    """
    modules: Iterable[Any] = model.modules() if active else ()
    layers = [(layer, name) for layer in modules for name in _plain_adapters(layer)]
    for layer, name in layers:
        layer.lora_variant[name] = _InPlace()
    try:
        yield
    finally:
        for layer, name in layers:
            del layer.lora_variant[name]


def _plain_adapters(layer: nn.Module) -> list[str]:
    # Subclasses handle quantized weights. Variants such as DoRA compute something else.
    if type(layer) is not Linear or type(layer.get_base_layer()) is not nn.Linear:
        return []
    weight = layer.get_base_layer().weight
    if weight.dtype not in (torch.float32, torch.bfloat16):
        return []
    on_cpu = weight.device.type == "cpu"  # where the masks are made
    return [
        name
        for name, up in layer.lora_B.items()
        if name not in layer.lora_variant
        and up.bias is None
        and (on_cpu or not isinstance(layer.lora_dropout[name], nn.Dropout))
    ]
