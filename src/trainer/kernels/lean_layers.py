"""Norms and gated MLPs that keep less for the backward pass and read memory less often.

transformers writes a norm as eight operations on float32 copies, two of which autograd keeps, and a gated MLP keeps the
activated gate beside the gate. Here each is one operation, for a few rows at a time, which fit into a processor's
cache; the backward pass computes again what it needs (as in Hsu et al. 2024, Liger Kernel).

A layer is replaced only if the replacement gives the layer's own output on random input.
"""

import inspect
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import Any, NamedTuple

import torch
from peft.tuners.tuners_utils import BaseTunerLayer
from torch import nn
from torch.autograd.function import once_differentiable

from trainer.kernels.trial import equal_within_rounding, kept_mode, replaced_forward

_N_AT_ONCE = 2**17  # numbers in float32 that are processed at once
_PROBE_ROWS = 4


class LeanLayer(NamedTuple):
    """A layer and the forward function that replaces its own."""

    layer: nn.Module
    forward: Callable[[torch.Tensor], torch.Tensor]


@contextmanager
def lean_layers(layers: Sequence[LeanLayer]) -> Iterator[None]:
    """Inside the block, the layers compute with their replacements."""
    with ExitStack() as stack:
        for layer, forward in layers:
            stack.enter_context(replaced_forward(layer, forward))
        yield


def find_lean_layers(model: nn.Module) -> list[LeanLayer]:
    """Return a replacement for every layer of a model that is known to have an equal one. Keeps its mode."""
    found = []
    for layer in model.modules():
        for candidate in _candidates(layer):
            if _gives_the_same(candidate):
                found.append(candidate)
                break
    return found


def _candidates(layer: nn.Module) -> Iterator[LeanLayer]:
    weight: Any = getattr(layer, "weight", None)
    eps: Any = getattr(layer, "variance_epsilon", getattr(layer, "eps", None))
    is_norm = type(layer).__name__.endswith("RMSNorm") and isinstance(eps, float)
    if is_norm and isinstance(weight, nn.Parameter) and not weight.requires_grad and weight.dim() == 1:
        for offset in (0.0, 1.0):  # Gemma's weights are differences from one
            yield LeanLayer(layer, partial(rms_norm, weight=weight, eps=eps, offset=offset))
    parts: list[Any] = [getattr(layer, name, None) for name in ("gate_proj", "up_proj", "down_proj", "act_fn")]
    if all(isinstance(part, nn.Module) for part in parts):
        yield LeanLayer(layer, partial(_gated_mlp, *parts))


def _gated_mlp(gate: nn.Module, up: nn.Module, down: nn.Module, act: nn.Module, x: torch.Tensor) -> torch.Tensor:
    output = down(gated(gate(x), up(x), act))
    assert isinstance(output, torch.Tensor)
    return output


def _gives_the_same(candidate: LeanLayer) -> bool:
    """Whether the replacement gives the layer's output in training; only dropout of adapters, which stays, is off."""
    layer, forward = candidate
    required = [p for p in inspect.signature(layer.forward).parameters.values() if p.default is p.empty]
    if len(required) != 1 or required[0].kind is inspect.Parameter.VAR_POSITIONAL:
        return False
    weight = next(layer.parameters())
    width = getattr(getattr(layer, "gate_proj", None), "in_features", weight.shape[-1])
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(_PROBE_ROWS, width, generator=generator).to(weight)
    with kept_mode(layer), torch.random.fork_rng(devices=[]), torch.no_grad():
        layer.train()
        for module in layer.modules():
            if isinstance(module, BaseTunerLayer):
                module.eval()
        expected, got = layer(x), forward(x)
    return got.dtype == expected.dtype and equal_within_rounding(got, expected, dtype=weight.dtype)


class _RMSNorm(torch.autograd.Function):
    """Root mean square layer normalization (Zhang and Sennrich 2019). Shapes: x [rows, size]; scale [size], float32."""

    @staticmethod
    def forward(ctx: Any, x: torch.Tensor, scale: torch.Tensor, eps: float) -> torch.Tensor:
        output = torch.empty_like(x)
        inverse = x.new_empty(len(x), 1, dtype=torch.float32)  # of the root mean squares
        size = x.shape[1]
        memory = _scratch(x)
        for rows in _parts(x):
            values = memory[: rows.stop - rows.start].copy_(x[rows])
            norms = torch.linalg.vector_norm(values, dim=-1, keepdim=True)
            inverse[rows] = norms.square_().div_(size).add_(eps).rsqrt_()
            output[rows] = values.mul_(inverse[rows]).mul_(scale)
        ctx.save_for_backward(x, scale, inverse)
        return output

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: torch.Tensor) -> tuple[torch.Tensor, None, None]:
        x, scale, inverse = ctx.saved_tensors
        grad_x = torch.empty_like(x)
        memory, products = (_scratch(x) for _ in range(2))
        slopes = _scratch(x)
        for rows in _parts(x):
            n = rows.stop - rows.start
            normed = memory[:n].copy_(x[rows]).mul_(inverse[rows])
            slope = slopes[:n].copy_(grad[rows]).mul_(scale)
            mean = torch.mul(slope, normed, out=products[:n]).mean(dim=-1, keepdim=True)
            grad_x[rows] = slope.sub_(normed.mul_(mean)).mul_(inverse[rows])
        return grad_x, None, None


class _Gated(torch.autograd.Function):
    """The product of an activated gate and a second input. Shapes: both [rows, size]."""

    @staticmethod
    def forward(ctx: Any, gate: torch.Tensor, up: torch.Tensor, act: Callable[[Any], Any]) -> torch.Tensor:
        output = torch.empty_like(up)
        for rows in _parts(up):
            torch.mul(act(gate[rows]), up[rows], out=output[rows])
        ctx.save_for_backward(gate, up)
        ctx.act = act
        return output

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, None]:
        gate, up = ctx.saved_tensors
        grad_gate, grad_up = torch.empty_like(gate), torch.empty_like(up)
        for rows in _parts(up):
            with torch.enable_grad():
                part = gate[rows].detach().requires_grad_()
                activated = ctx.act(part)
            slope = grad[rows]
            torch.mul(slope, activated.detach(), out=grad_up[rows])
            (grad_gate[rows],) = torch.autograd.grad(activated, part, slope * up[rows])
        return grad_gate, grad_up, None


def _scratch(x: torch.Tensor) -> torch.Tensor:
    """Memory for the rows of one part in float32."""
    return x.new_empty(_n_rows(x), x.shape[1], dtype=torch.float32)


def _n_rows(x: torch.Tensor) -> int:
    return max(1, min(len(x), _N_AT_ONCE // x.shape[1]))


def _parts(x: torch.Tensor) -> Iterator[slice]:
    step = _n_rows(x)
    for start in range(0, len(x), step):
        yield slice(start, min(start + step, len(x)))


def rms_norm(x: torch.Tensor, weight: torch.Tensor, *, eps: float, offset: float = 0.0) -> torch.Tensor:
    """Return `x` [..., size], divided by its root mean square, times `weight` [size] plus `offset`.

    Computed in float32 and rounded once. The weight has no gradient.
    """
    scale = weight.detach().float() + offset
    output = _RMSNorm.apply(x.reshape(-1, x.shape[-1]), scale, eps)  # type: ignore[no-untyped-call]
    return output.view(x.shape)  # type: ignore[no-any-return]


def gated(gate: torch.Tensor, up: torch.Tensor, act: Callable[[Any], Any]) -> torch.Tensor:
    """Return `act(gate) * up` for tensors [..., size]; keeps only these two for the backward pass."""
    flat = (x.reshape(-1, x.shape[-1]) for x in (gate, up))
    output = _Gated.apply(*flat, act)  # type: ignore[no-untyped-call]
    return output.view(up.shape)  # type: ignore[no-any-return]
