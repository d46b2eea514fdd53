"""Attention over a cache whose rows have different lengths, with one or more new tokens in each row.

The mask is the model's own, including sliding windows, with each row's positions counted from its own length. Query
heads that share a key-value head are passed to the kernel as extra queries of that head, so keys and values are not
copied for every query head (grouped-query attention, Ainslie et al. 2023).
"""

from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import nn
from torch.nn import functional
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import eager_mask, sdpa_mask

from trainer.generation.kv_cache import RaggedCache, RowLengths, has_sliding_windows
from trainer.kernels.attention_override import (
    MaskFunction,
    attend_eagerly,
    attend_with,
    needs_eager,
    replaceable_attention,
)

# The most new tokens per row for which query heads are folded. Folding copies the mask, so it does not pay in long
# passes.
_MAX_FOLDED = 16


def _attention(
    module: nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    **options: Any,
) -> tuple[torch.Tensor, None]:
    """Shapes: query [rows, heads, new, size]; key, value [rows, kv heads, tokens, size]."""
    rows, heads, n_new, size = query.shape
    kv_heads = key.shape[1]
    n_groups = heads // kv_heads
    is_shared = n_new == 1 if attention_mask is None else attention_mask.shape[1] == 1  # one mask for all heads
    if n_groups == 1 or n_new > _MAX_FOLDED or not is_shared or options.get("position_bias") is not None:
        return sdpa_attention_forward(module, query, key, value, attention_mask, **options)
    output = functional.scaled_dot_product_attention(
        query.reshape(rows, kv_heads, n_groups * n_new, size),
        key,
        value,
        attn_mask=None if attention_mask is None else attention_mask.repeat(1, 1, n_groups, 1),
        scale=options.get("scaling"),
    )
    return output.reshape(rows, heads, n_new, value.shape[-1]).transpose(1, 2).contiguous(), None


def supports_ragged_attention(model: nn.Module) -> bool:
    """Whether a model can attend to rows that end at different positions, with any number of new tokens."""
    return replaceable_attention(model) is not None


def supports_row_mask(model: nn.Module) -> bool:
    """Whether a model can attend to rows that end at different positions with one new token in each row.

    Every model masks padding, and entries after a row's end can be masked the same way. But sliding windows are counted
    from the longest row.
    """
    return not has_sliding_windows(model.config)


def row_mask(model: nn.Module, cache: RaggedCache) -> torch.Tensor | None:
    """The mask of padding, bool [rows, tokens], for a pass over one new token per row; None if it needs none."""
    if supports_ragged_attention(model) or len(set(cache.lengths.values)) == 1:
        return None
    ends = cache.lengths.next_positions(1)
    return torch.arange(max(cache.lengths.values) + 1, device=ends.device) <= ends


def ragged_attention(model: nn.Module, cache: RaggedCache) -> AbstractContextManager[None]:
    """Inside the block, `model` attends to each row of `cache` up to the row's own end, if it supports that.

    It uses torch's kernel, or its own eager code if it is set to that or needs it.
    """
    implementation = replaceable_attention(model)
    if implementation is None:
        return nullcontext()
    if implementation == "eager" or (implementation != "sdpa" and needs_eager(model)):
        return attend_eagerly(model, _by_row(eager_mask, cache.lengths))
    return attend_with(model, "sdpa_ragged", _attention, _by_row(sdpa_mask, cache.lengths))


def _by_row(make_mask: MaskFunction, lengths: RowLengths) -> MaskFunction:
    """A mask function that counts each row's query positions from the row's own length."""

    def make(*, mask_function: Any, q_length: int, q_offset: int, **options: Any) -> torch.Tensor | None:
        if len(set(lengths.values)) == 1:
            return make_mask(mask_function=mask_function, q_length=q_length, q_offset=q_offset, **options)
        positions = lengths.next_positions(q_length)

        def allowed(row: Any, head: Any, query: Any, key: Any) -> Any:
            return mask_function(row, head, positions[row, query - q_offset], key)

        options["allow_is_causal_skip"] = False
        return make_mask(mask_function=allowed, q_length=q_length, q_offset=q_offset, **options)

    return make
