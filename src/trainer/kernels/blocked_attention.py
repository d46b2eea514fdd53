"""Attention over whole sequences on a CPU in bfloat16, as matrix products over blocks of queries.

torch's CPU kernel reaches only a fraction of the machine's speed in bfloat16, and even less in its backward pass.
Here one product multiplies each block of queries with the keys up to the block's end, or with all keys if a mask says
which of them a query sees. The CPU's bfloat16 units do that at full speed. The backward pass computes the
probabilities again, so memory grows with the number of tokens, not with its square (the recomputation of
FlashAttention, Dao et al. 2022). Query heads that share a key-value head are
rows of the same product (grouped-query attention, Ainslie et al. 2023).
"""

import math
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import Any, NamedTuple

import torch
from torch import nn
from torch.autograd.function import once_differentiable
from transformers.integrations.sdpa_attention import sdpa_attention_forward

from trainer.kernels.attention_override import attend_with, replaceable_attention

_N_QUERIES = 128  # queries per block: enough rows for full speed, little wasted work above the diagonal


class _Block(NamedTuple):
    """Queries [start, end) and their attention to keys [0, n_keys)."""

    start: int
    end: int
    n_keys: int
    queries: torch.Tensor  # [kv heads, group * (end - start), size], scaled
    probabilities: torch.Tensor  # [kv heads, group * (end - start), n_keys]; valid until the next block


class _Scratch:
    """Memory that tensors of growing shape reuse. Separate memory for each block would fragment the heap."""

    def __init__(self, like: torch.Tensor, n_numbers: int) -> None:
        self._memory = like.new_empty(n_numbers)

    def shaped(self, *shape: int) -> torch.Tensor:
        """A tensor of this shape in the reused memory, not initialized."""
        return self._memory[: math.prod(shape)].view(shape)


class _BlockedAttention(torch.autograd.Function):
    """Shapes: query and output [kv heads, group, queries, size]; key and value [kv heads, keys, size].

    `hidden` is True where a query does not see a key, [queries, keys]; without it, attention is causal.
    """

    @staticmethod
    def forward(
        ctx: Any,
        query: torch.Tensor,
        key: torch.Tensor,
        value: torch.Tensor,
        hidden: torch.Tensor | None,
        scale: float,
    ) -> torch.Tensor:
        output = torch.empty_like(query)
        for start, end, n_keys, _, probabilities in _blocks(query, key, hidden, scale):
            output[:, :, start:end] = _unfold(torch.bmm(probabilities, value[:, :n_keys]), query)
        ctx.save_for_backward(query, key, value, hidden)
        ctx.scale = scale
        return output

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_output: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        query, key, value, hidden = ctx.saved_tensors
        grad_query = torch.empty_like(query)
        # Many blocks add to the same keys, so the sums are kept in float32 or wider.
        sum_dtype = torch.promote_types(query.dtype, torch.float32)
        grad_key, grad_value = (torch.zeros_like(x, dtype=sum_dtype) for x in (key, value))
        scratch, addends = _Scratch(query, _n_scores(query, key)), _Scratch(key, key.numel())
        for start, end, n_keys, queries, probabilities in _blocks(query, key, hidden, ctx.scale):
            grad = _fold(grad_output[:, :, start:end])
            addend = addends.shaped(key.shape[0], n_keys, key.shape[2])
            grad_value[:, :n_keys] += torch.bmm(probabilities.transpose(1, 2), grad, out=addend)
            slopes = scratch.shaped(*probabilities.shape)
            torch.bmm(grad, value[:, :n_keys].transpose(1, 2), out=slopes)
            torch.ops.aten._softmax_backward_data.out(slopes, probabilities, -1, slopes.dtype, grad_input=slopes)
            grad_query[:, :, start:end] = _unfold(torch.bmm(slopes, key[:, :n_keys]) * ctx.scale, query)
            grad_key[:, :n_keys] += torch.bmm(slopes.transpose(1, 2), queries, out=addend)
        return grad_query, grad_key.to(key.dtype), grad_value.to(value.dtype), None, None


def _spans(query: torch.Tensor) -> Iterator[tuple[int, int]]:
    """Yield start and end of each block of queries."""
    for start in range(0, query.shape[2], _N_QUERIES):
        yield start, min(start + _N_QUERIES, query.shape[2])


def _n_scores(query: torch.Tensor, key: torch.Tensor) -> int:
    """The number of scores in the largest block: each of its queries against all keys."""
    kv_heads, group, n_queries, _ = query.shape
    return kv_heads * group * min(_N_QUERIES, n_queries) * key.shape[1]


def _blocks(query: torch.Tensor, key: torch.Tensor, hidden: torch.Tensor | None, scale: float) -> Iterator[_Block]:
    """Yield the blocks."""
    kv_heads, group = query.shape[:2]
    later = torch.ones(_N_QUERIES, _N_QUERIES, dtype=torch.bool).triu(1)
    score_scratch, probability_scratch = (_Scratch(query, _n_scores(query, key)) for _ in range(2))
    for start, end in _spans(query):
        n, n_keys = end - start, end if hidden is None else hidden.shape[1]
        queries = _fold(query[:, :, start:end] * scale)
        scores, probabilities = (
            scratch.shaped(kv_heads, group * n, n_keys) for scratch in (score_scratch, probability_scratch)
        )
        torch.bmm(queries, key[:, :n_keys].transpose(1, 2), out=scores)
        by_query = scores.view(kv_heads, group, n, n_keys)
        if hidden is None:
            by_query[..., start:].masked_fill_(later[:n, :n], -torch.inf)
        else:
            by_query.masked_fill_(hidden[start:end], -torch.inf)
        torch.softmax(scores, dim=-1, out=probabilities)
        yield _Block(start, end, n_keys, queries, probabilities)


def _fold(block: torch.Tensor) -> torch.Tensor:
    return block.flatten(1, 2)


def _unfold(rows: torch.Tensor, like: torch.Tensor) -> torch.Tensor:
    return rows.view(like.shape[0], like.shape[1], -1, rows.shape[-1])


def blocked_attention(
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    *,
    visible: torch.Tensor | None = None,
    scale: float | None = None,
) -> torch.Tensor:
    """Attention of query [batch, heads, queries, size] to key and value [batch, kv heads, keys, size].

    It is causal, with as many queries as keys, unless `visible` (boolean [queries, keys]) says which keys a query sees.
    `scale` defaults to 1/sqrt(size). The result has the shape of `query`. Gradients flow to all three inputs.
    """
    batch, heads, n_queries, size = query.shape
    kv_heads = key.shape[1]
    folded = query.reshape(batch * kv_heads, heads // kv_heads, n_queries, size)
    hidden = None if visible is None else ~visible
    output = _BlockedAttention.apply(  # type: ignore[no-untyped-call]
        folded, key.flatten(0, 1), value.flatten(0, 1), hidden, scale or size**-0.5
    )
    assert isinstance(output, torch.Tensor)
    return output.reshape(batch, heads, n_queries, size)


def attention_in_blocks(
    module: nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    **options: Any,
) -> tuple[torch.Tensor, None]:
    """Attend as transformers' function for torch's kernel does; use `blocked_attention` where it computes the same."""
    if _continues_one_sequence(query, key, attention_mask):
        assert attention_mask is not None
        return masked_attention_in_blocks(module, query, key, value, attention_mask, **options)
    if (
        attention_mask is not None
        or query.shape[2] != key.shape[2]
        or not _is_supported(module, query, key, value, options)
    ):
        return sdpa_attention_forward(module, query, key, value, attention_mask, **options)
    output = blocked_attention(query, key, value, scale=options.get("scaling"))
    return output.transpose(1, 2).contiguous(), None


def _continues_one_sequence(query: torch.Tensor, key: torch.Tensor, mask: torch.Tensor | None) -> bool:
    """Whether many tokens follow earlier ones, and the mask is the same for all heads and says which keys they see."""
    is_mask = mask is not None and mask.dtype == torch.bool and tuple(mask.shape[:2]) == (1, 1)
    return is_mask and _N_QUERIES <= query.shape[2] < key.shape[2]


def masked_attention_in_blocks(
    module: nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    visible: torch.Tensor,
    **options: Any,
) -> tuple[torch.Tensor, None]:
    """Attend in the same way with a mask of pairs, `visible` (boolean [1, 1, queries, keys])."""
    if not _is_supported(module, query, key, value, options):
        return sdpa_attention_forward(module, query, key, value, visible, **options)
    output = blocked_attention(query, key, value, visible=visible[0, 0], scale=options.get("scaling"))
    return output.transpose(1, 2).contiguous(), None


def _is_supported(
    module: nn.Module, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, options: Mapping[str, Any]
) -> bool:
    """Whether `blocked_attention` computes the same as torch's kernel, and faster."""
    is_causal = options.get("is_causal")
    return bool(
        query.device.type == "cpu"
        and query.dtype == key.dtype == value.dtype == torch.bfloat16
        and query.shape[-1] == key.shape[-1] == value.shape[-1]
        and key.shape[2] == value.shape[2]
        and (getattr(module, "is_causal", True) if is_causal is None else is_causal)
        and not options.get("dropout")
        and options.get("position_bias") is None
        and options.get("cache") is None
    )


def attend_in_blocks(model: nn.Module) -> AbstractContextManager[None]:
    """Inside the block, `model` uses `blocked_attention` for passes over whole sequences on a CPU in bfloat16.

    So do long passes that continue one sequence from a cache. All other passes use torch's kernel. A model that does
    not use that kernel, or cannot replace it, is unchanged.
    """
    replaceable = replaceable_attention(model) == "sdpa"
    return attend_with(model, "sdpa_in_blocks", attention_in_blocks) if replaceable else nullcontext()
