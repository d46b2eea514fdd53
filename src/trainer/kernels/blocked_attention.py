"""Causal attention over whole sequences on a CPU in bfloat16, as matrix products over blocks of queries.

torch's CPU kernel reaches only a fraction of the machine's speed in bfloat16, and even less in its backward pass.
Here one product multiplies each block of queries with the keys up to the block's end, which the CPU's bfloat16
units do at full speed. The backward pass computes the probabilities again, so memory grows with the number of tokens,
not with its square (the recomputation of FlashAttention, Dao et al. 2022). Query heads that share a key-value head are
rows of the same product (grouped-query attention, Ainslie et al. 2023).
"""

import math
from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from typing import Any, NamedTuple

import torch
from torch import nn
from torch.autograd.function import once_differentiable
from transformers.integrations.sdpa_attention import sdpa_attention_forward

from trainer.kernels.attention_override import attend_with, replaceable_attention

_N_QUERIES = 128  # queries per block: enough rows for full speed, little wasted work above the diagonal


class _Block(NamedTuple):
    """Queries [start, end) and their attention to keys [0, end)."""

    start: int
    end: int
    queries: torch.Tensor  # [kv heads, group * (end - start), size], scaled
    probabilities: torch.Tensor  # [kv heads, group * (end - start), end]; valid until the next block


class _Scratch:
    """Memory that tensors of growing shape reuse. Separate memory for each block would fragment the heap."""

    def __init__(self, like: torch.Tensor, n_numbers: int) -> None:
        self._memory = like.new_empty(n_numbers)

    def shaped(self, *shape: int) -> torch.Tensor:
        """A tensor of this shape in the reused memory, not initialized."""
        return self._memory[: math.prod(shape)].view(shape)


class _BlockedAttention(torch.autograd.Function):
    """Shapes: query and output [kv heads, group, tokens, size]; key and value [kv heads, tokens, size]."""

    @staticmethod
    def forward(ctx: Any, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, scale: float) -> torch.Tensor:
        output = torch.empty_like(query)
        for start, end, _, probabilities in _blocks(query, key, scale):
            output[:, :, start:end] = _unfold(torch.bmm(probabilities, value[:, :end]), query)
        ctx.save_for_backward(query, key, value)
        ctx.scale = scale
        return output

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_output: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        query, key, value = ctx.saved_tensors
        grad_query = torch.empty_like(query)
        # Many blocks add to the same keys, so the sums are kept in float32 or wider.
        sum_dtype = torch.promote_types(query.dtype, torch.float32)
        grad_key, grad_value = (torch.zeros_like(x, dtype=sum_dtype) for x in (key, value))
        scratch, addends = _Scratch(query, _n_scores(query)), _Scratch(key, key.numel())
        for start, end, queries, probabilities in _blocks(query, key, ctx.scale):
            grad = _fold(grad_output[:, :, start:end])
            addend = addends.shaped(key.shape[0], end, key.shape[2])
            grad_value[:, :end] += torch.bmm(probabilities.transpose(1, 2), grad, out=addend)
            slopes = scratch.shaped(*probabilities.shape)
            torch.bmm(grad, value[:, :end].transpose(1, 2), out=slopes)
            torch.ops.aten._softmax_backward_data.out(slopes, probabilities, -1, slopes.dtype, grad_input=slopes)
            grad_query[:, :, start:end] = _unfold(torch.bmm(slopes, key[:, :end]) * ctx.scale, query)
            grad_key[:, :end] += torch.bmm(slopes.transpose(1, 2), queries, out=addend)
        return grad_query, grad_key.to(key.dtype), grad_value.to(value.dtype), None


def _n_scores(query: torch.Tensor) -> int:
    """The number of scores in the largest block: each of its queries against all keys."""
    kv_heads, group, n_tokens, _ = query.shape
    return kv_heads * group * min(_N_QUERIES, n_tokens) * n_tokens


def _blocks(query: torch.Tensor, key: torch.Tensor, scale: float) -> Iterator[_Block]:
    """Yield the blocks."""
    kv_heads, group, n_tokens, _ = query.shape
    later = torch.ones(_N_QUERIES, _N_QUERIES, dtype=torch.bool).triu(1)
    score_scratch, probability_scratch = (_Scratch(query, _n_scores(query)) for _ in range(2))
    for start in range(0, n_tokens, _N_QUERIES):
        end = min(start + _N_QUERIES, n_tokens)
        n = end - start
        queries = _fold(query[:, :, start:end] * scale)
        scores, probabilities = (s.shaped(kv_heads, group * n, end) for s in (score_scratch, probability_scratch))
        torch.bmm(queries, key[:, :end].transpose(1, 2), out=scores)
        scores.view(kv_heads, group, n, end)[..., start:].masked_fill_(later[:n, :n], -torch.inf)
        torch.softmax(scores, dim=-1, out=probabilities)
        yield _Block(start, end, queries, probabilities)


def _fold(block: torch.Tensor) -> torch.Tensor:
    return block.flatten(1, 2)


def _unfold(rows: torch.Tensor, like: torch.Tensor) -> torch.Tensor:
    return rows.view(like.shape[0], like.shape[1], -1, rows.shape[-1])


def blocked_attention(
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    *,
    scale: float | None = None,
) -> torch.Tensor:
    """Causal attention of query [batch, heads, tokens, size] to key and value [batch, kv heads, tokens, size].

    `scale` defaults to 1/sqrt(size). The result has the shape of `query`. Gradients flow to all three inputs.
    """
    batch, heads, n_tokens, size = query.shape
    kv_heads = key.shape[1]
    folded = query.reshape(batch * kv_heads, heads // kv_heads, n_tokens, size)
    output = _BlockedAttention.apply(  # type: ignore[no-untyped-call]
        folded, key.flatten(0, 1), value.flatten(0, 1), scale or size**-0.5
    )
    assert isinstance(output, torch.Tensor)
    return output.reshape(batch, heads, n_tokens, size)


def attention_in_blocks(
    module: nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    **options: Any,
) -> tuple[torch.Tensor, None]:
    """Attend as transformers' function for torch's kernel does; use `blocked_attention` where it computes the same."""
    is_causal = options.get("is_causal")
    is_supported = (
        query.device.type == "cpu"
        and query.dtype == key.dtype == value.dtype == torch.bfloat16
        and query.shape[-2:] == key.shape[-2:] == value.shape[-2:]
        and attention_mask is None
        and (getattr(module, "is_causal", True) if is_causal is None else is_causal)
        and not options.get("dropout")
        and options.get("position_bias") is None
        and options.get("cache") is None
    )
    if not is_supported:
        return sdpa_attention_forward(module, query, key, value, attention_mask, **options)
    output = blocked_attention(query, key, value, scale=options.get("scaling"))
    return output.transpose(1, 2).contiguous(), None


def attend_in_blocks(model: nn.Module) -> AbstractContextManager[None]:
    """Inside the block, `model` uses `blocked_attention` for passes over whole sequences on a CPU in bfloat16.

    All other passes use torch's kernel. A model that does not use that kernel, or cannot replace it, is unchanged.
    """
    replaceable = replaceable_attention(model) == "sdpa"
    return attend_with(model, "sdpa_in_blocks", attention_in_blocks) if replaceable else nullcontext()
