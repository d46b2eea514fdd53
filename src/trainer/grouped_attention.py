"""Attention for decoding with grouped-query heads, without copying keys and values for every query head.

With one new token per row, the query heads that share a key-value head are queries like any others, so they
are handed to the kernel as a short sequence. Grouped-query attention: Ainslie et al. 2023. Knows no model.
"""

from contextlib import AbstractContextManager
from typing import Any

import torch
from torch import nn
from torch.nn import functional
from transformers.integrations.sdpa_attention import sdpa_attention_forward

from trainer.attention import attend_with


def _attention(
    module: nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    **options: Any,
) -> tuple[torch.Tensor, None]:
    """Shapes: query [rows, heads, 1, size]; key and value [rows, kv heads, tokens, size]."""
    rows, heads, n_new, size = query.shape
    n_groups = heads // key.shape[1]
    if n_new != 1 or n_groups == 1 or options.get("position_bias") is not None:
        return sdpa_attention_forward(module, query, key, value, attention_mask, **options)
    folded = query.reshape(rows, key.shape[1], n_groups, size)
    output = functional.scaled_dot_product_attention(
        folded, key, value, attn_mask=attention_mask, scale=options.get("scaling")
    )
    return output.reshape(rows, 1, heads, value.shape[-1]), None


def grouped_decoding(model: nn.Module) -> AbstractContextManager[None]:
    """Within it, a model that attends by torch's kernel does so without repeating keys and values."""
    return attend_with(model, "sdpa_grouped_decoding", _attention)
