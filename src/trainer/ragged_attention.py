"""Attention over a cache whose rows have different lengths, also with several new tokens in each row.

The mask is the model's own, sliding windows included, with each row's positions counted from its own length. Query
heads that share a key-value head are handed to the kernel as more queries of it, so that keys and values are not
copied for every query head (grouped-query attention, Ainslie et al. 2023). Knows no model.
"""

from contextlib import AbstractContextManager
from typing import Any

import torch
from torch import nn
from torch.nn import functional
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import eager_mask, sdpa_mask

from trainer.attention import (
    MaskFunction,
    attend_masked,
    attend_with,
    chosen_attention,
    takes_any_function,
    takes_kernel,
)
from trainer.kv_cache import RaggedCache


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
    is_shared = attention_mask is not None and attention_mask.shape[1] == 1  # by all heads
    if n_groups == 1 or not is_shared or options.get("position_bias") is not None:
        return sdpa_attention_forward(module, query, key, value, attention_mask, **options)
    assert attention_mask is not None
    output = functional.scaled_dot_product_attention(
        query.reshape(rows, kv_heads, n_groups * n_new, size),
        key,
        value,
        attn_mask=attention_mask.repeat(1, 1, n_groups, 1),
        scale=options.get("scaling"),
    )
    return output.reshape(rows, heads, n_new, value.shape[-1]).transpose(1, 2).contiguous(), None


def ragged_attention(model: nn.Module, cache: RaggedCache) -> AbstractContextManager[None]:
    """Within it, `model` attends to the rows of `cache` as far as they go: by torch's kernel, or by its own plain code
    where it is set to that or has no other.
    """
    if chosen_attention(model) == "eager" or not takes_kernel(model):
        return attend_masked(model, "eager", _by_row(eager_mask, cache))
    if not takes_any_function(model):
        return attend_masked(model, "sdpa", _by_row(sdpa_mask, cache))
    return attend_with(model, "sdpa_ragged", _attention, _by_row(sdpa_mask, cache))


def _by_row(make_mask: MaskFunction, cache: RaggedCache) -> MaskFunction:
    """A mask function that counts the queries of each row from the row's own length."""

    def make(*, mask_function: Any, q_length: int, q_offset: int, **options: Any) -> torch.Tensor | None:
        places = cache.places(q_length)

        def allowed(row: Any, head: Any, query: Any, key: Any) -> Any:
            return mask_function(row, head, places[row, query - q_offset], key)

        options["allow_is_causal_skip"] = False
        return make_mask(mask_function=allowed, q_length=q_length, q_offset=q_offset, **options)

    return make
