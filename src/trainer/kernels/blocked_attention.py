"""Attention over whole sequences on a CPU in bfloat16, as matrix products over blocks of queries.

torch's CPU kernel reaches only a fraction of the machine's speed in bfloat16, and even less in its backward pass.
Here one product multiplies each block of queries with the keys up to the block's end, or with all keys if a mask says
which of them a query sees. The CPU's bfloat16 units do that at full speed. The backward pass uses the probabilities
that were kept in a fixed amount of memory, and computes the others again, so memory grows with the number of tokens,
not with its square (the recomputation of FlashAttention, Dao et al. 2022). Query heads that share a key-value head are
rows of the same product (grouped-query attention, Ainslie et al. 2023).
"""

import math
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from typing import Any, NamedTuple

import torch
from torch import nn
from torch.autograd.function import once_differentiable
from transformers.integrations.sdpa_attention import sdpa_attention_forward

from trainer.kernels.attention_override import attend_with, replaceable_attention

_N_QUERIES = 128  # queries per block: enough rows for full speed, little wasted work above the diagonal
_N_KEPT_BYTES = 2**27  # a few percent of what a step of a small model needs anyway


class KeptMemory:
    """The memory in which attention may keep probabilities for its backward pass, which frees it.

    Not for checkpointed layers: they have to save tensors of the same shapes when they are computed again.
    """

    def __init__(self, n_bytes: int | None = None) -> None:
        self._n_left = _N_KEPT_BYTES if n_bytes is None else n_bytes

    def take(self, n_bytes: int) -> bool:
        """Reserve memory; return False if not enough is left."""
        if n_bytes > self._n_left:
            return False
        self._n_left -= n_bytes
        return True

    def give_back(self, n_bytes: int) -> None:
        """Free reserved memory."""
        self._n_left += n_bytes


class _Block(NamedTuple):
    """Queries [start, end) and their attention to keys [0, n_keys)."""

    start: int
    end: int
    n_keys: int
    queries: torch.Tensor  # [kv heads, group * (end - start), size], scaled
    probabilities: torch.Tensor  # [kv heads, group * (end - start), n_keys]; valid until the next block unless kept


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
        memory: KeptMemory,
    ) -> torch.Tensor:
        output = torch.empty_like(query)
        n_probabilities = sum(math.prod(_shape(query, start, end, hidden)) for start, end in _spans(query))
        n_bytes = n_probabilities * query.element_size()
        keeps = any(ctx.needs_input_grad) and memory.take(n_bytes)
        kept = query.new_empty(n_probabilities if keeps else 0)
        for start, end, n_keys, _, probabilities in _blocks(query, key, hidden, scale, kept=kept):
            output[:, :, start:end] = _unfold(torch.bmm(probabilities, value[:, :n_keys]), query)
        ctx.save_for_backward(query, key, value, hidden, kept)
        ctx.scale, ctx.memory, ctx.n_bytes = scale, memory, n_bytes if keeps else 0
        return output

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_output: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        query, key, value, hidden, kept = ctx.saved_tensors
        grad_query = torch.empty_like(query)
        # Many blocks add to the same keys, so the sums are kept in float32 or wider.
        sum_dtype = torch.promote_types(query.dtype, torch.float32)
        grad_key, grad_value = (torch.zeros_like(x, dtype=sum_dtype) for x in (key, value))
        scratch, addends = _Scratch(query, _n_scores(query, key)), _Scratch(key, key.numel())
        for start, end, n_keys, queries, probabilities in _blocks(
            query, key, hidden, ctx.scale, kept=kept, computed=True
        ):
            grad = _fold(grad_output[:, :, start:end])
            addend = addends.shaped(key.shape[0], n_keys, key.shape[2])
            grad_value[:, :n_keys] += torch.bmm(probabilities.transpose(1, 2), grad, out=addend)
            slopes = scratch.shaped(*probabilities.shape)
            torch.bmm(grad, value[:, :n_keys].transpose(1, 2), out=slopes)
            torch.ops.aten._softmax_backward_data.out(slopes, probabilities, -1, slopes.dtype, grad_input=slopes)
            grad_query[:, :, start:end] = _unfold(torch.bmm(slopes, key[:, :n_keys]) * ctx.scale, query)
            grad_key[:, :n_keys] += torch.bmm(slopes.transpose(1, 2), queries, out=addend)
        ctx.memory.give_back(ctx.n_bytes)
        ctx.n_bytes = 0
        return grad_query, grad_key.to(key.dtype), grad_value.to(value.dtype), None, None, None


def _spans(query: torch.Tensor) -> Iterator[tuple[int, int]]:
    """Yield start and end of each block of queries."""
    for start in range(0, query.shape[2], _N_QUERIES):
        yield start, min(start + _N_QUERIES, query.shape[2])


def _shape(query: torch.Tensor, start: int, end: int, hidden: torch.Tensor | None) -> tuple[int, int, int]:
    """The shape of a block's scores."""
    return query.shape[0], query.shape[1] * (end - start), end if hidden is None else hidden.shape[1]


def _n_scores(query: torch.Tensor, key: torch.Tensor) -> int:
    """The number of scores in the largest block: each of its queries against all keys."""
    kv_heads, group, n_queries, _ = query.shape
    return kv_heads * group * min(_N_QUERIES, n_queries) * key.shape[1]


def _blocks(
    query: torch.Tensor,
    key: torch.Tensor,
    hidden: torch.Tensor | None,
    scale: float,
    *,
    kept: torch.Tensor,
    computed: bool = False,
) -> Iterator[_Block]:
    """Yield the blocks. `kept` has room for all their probabilities, which may be `computed` already, or is empty."""
    kv_heads, group = query.shape[:2]
    keeps = len(kept) > 0
    reads = keeps and computed
    later = torch.ones(_N_QUERIES, _N_QUERIES, dtype=torch.bool).triu(1)
    score_scratch = _Scratch(query, 0 if reads else _n_scores(query, key))
    probability_scratch = _Scratch(query, 0 if keeps else _n_scores(query, key))
    position = 0
    for start, end in _spans(query):
        n, shape = end - start, _shape(query, start, end, hidden)
        n_keys = shape[2]
        queries = _fold(query[:, :, start:end] * scale)
        own = kept[position : position + math.prod(shape)]
        probabilities = own.view(shape) if keeps else probability_scratch.shaped(*shape)
        position += math.prod(shape)
        if not reads:
            scores = score_scratch.shaped(*shape)
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
    memory: KeptMemory | None = None,
) -> torch.Tensor:
    """Attention of query [batch, heads, queries, size] to key and value [batch, kv heads, keys, size].

    It is causal, with as many queries as keys, unless `visible` (boolean [queries, keys]) says which keys a query sees.
    `scale` defaults to 1/sqrt(size). The result has the shape of `query`. Gradients flow to all three inputs.
    Probabilities are kept for the backward pass if there is enough `memory`; by default, there is none.
    """
    batch, heads, n_queries, size = query.shape
    kv_heads = key.shape[1]
    folded = query.reshape(batch * kv_heads, heads // kv_heads, n_queries, size)
    hidden = None if visible is None else ~visible
    output = _BlockedAttention.apply(  # type: ignore[no-untyped-call]
        folded, key.flatten(0, 1), value.flatten(0, 1), hidden, scale or size**-0.5, memory or KeptMemory(0)
    )
    assert isinstance(output, torch.Tensor)
    return output.reshape(batch, heads, n_queries, size)


def attention_in_blocks(
    module: nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    *,
    memory: KeptMemory | None = None,
    **options: Any,
) -> tuple[torch.Tensor, None]:
    """Attend as transformers' function for torch's kernel does; use `blocked_attention` where it computes the same."""
    if (
        attention_mask is not None
        or query.shape[2] != key.shape[2]
        or not _is_supported(module, query, key, value, options)
    ):
        return sdpa_attention_forward(module, query, key, value, attention_mask, **options)
    output = blocked_attention(query, key, value, scale=options.get("scaling"), memory=memory)
    return output.transpose(1, 2).contiguous(), None


def masked_attention_in_blocks(
    module: nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    visible: torch.Tensor,
    *,
    memory: KeptMemory | None = None,
    **options: Any,
) -> tuple[torch.Tensor, None]:
    """Attend in the same way with a mask of pairs, `visible` (boolean [1, 1, queries, keys])."""
    if not _is_supported(module, query, key, value, options):
        return sdpa_attention_forward(module, query, key, value, visible, **options)
    output = blocked_attention(query, key, value, visible=visible[0, 0], scale=options.get("scaling"), memory=memory)
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


def attend_in_blocks(model: nn.Module, memory: KeptMemory | None = None) -> AbstractContextManager[None]:
    """Inside the block, `model` uses `blocked_attention` for passes over whole sequences on a CPU in bfloat16.

    All other passes use torch's kernel. A model that does not use that kernel, or cannot replace it, is unchanged.
    """
    replaceable = replaceable_attention(model) == "sdpa"
    attention = attention_in_blocks if memory is None else partial(attention_in_blocks, memory=memory)
    return attend_with(model, "sdpa_in_blocks", attention) if replaceable else nullcontext()
