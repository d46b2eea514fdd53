"""Attention of answers to a history that they share and to their own tokens, as plain matrix products.

One product multiplies the queries of all answers of a session with the session's keys, and one softmax covers the
scores of shared and own keys. The mask is the model's own, including sliding windows, with the positions that tokens
have in their sessions. (Shared prefixes as one product: Juravsky et al. 2024, "Hydragen".)
"""

import weakref
from contextlib import AbstractContextManager
from functools import partial
from typing import Any

import torch
from torch import nn
from transformers.masking_utils import sdpa_mask

from trainer.generation.branched_cache import BranchedCache, Step
from trainer.kernels.attention_override import attend_with, needs_eager, replaceable_attention


def may_branch(model: nn.Module) -> bool:
    """Whether a model's attention can be replaced, and declares no features that plain products lack."""
    implementation = replaceable_attention(model)
    return implementation is not None and (
        implementation == "sdpa" or (implementation != "eager" and not needs_eager(model))
    )


def branched_attention(model: nn.Module, cache: BranchedCache) -> AbstractContextManager[None]:
    """Inside the block, `model` attends to the rows of `cache`. It must be one that `may_branch`."""
    known = weakref.proxy(cache)  # the functions stay registered after the block
    return attend_with(model, "products_branched", partial(_attention, known), partial(_mask, known))


def _mask(cache: BranchedCache, *, mask_function: Any, device: Any, **options: Any) -> torch.Tensor | None:
    """The mask, bool [1, 1, tokens, shared + own keys]: what a token sees of its history, then of its own row."""
    step = cache.step
    n_shared, positions = step.n_shared, step.positions

    def allowed(batch: Any, head: Any, query: Any, key: Any) -> Any:
        starts = step.starts[query]
        is_seen = (key < starts) | (key >= n_shared)
        return is_seen & mask_function(
            batch, head, positions[query], torch.where(key < n_shared, key, starts + key - n_shared)
        )

    return sdpa_mask(
        batch_size=1,
        q_length=len(positions),
        kv_length=n_shared + step.n_slots,
        mask_function=allowed,
        allow_is_causal_skip=False,
        use_vmap=options.get("use_vmap", False),
        device=device,
    )


def _attention(
    cache: BranchedCache,
    module: Any,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor,
    *,
    scaling: float | None = None,
    **options: Any,
) -> tuple[torch.Tensor, None]:
    """Shapes: query [1, heads, tokens, size]; own key, value [rows, kv heads, slots, size]; the mask as in `_mask`."""
    step = cache.step
    _, heads, n_tokens, size = query.shape
    kv_heads, n_slots = key.shape[1:3]
    n_shared = step.n_shared
    with torch.autocast(query.device.type, enabled=False):
        queries = (query[0] * (size**-0.5 if scaling is None else scaling)).to(key.dtype)
        queries = queries.view(kv_heads, heads // kv_heads, n_tokens, size)
        hidden = attention_mask[0, 0].logical_not()
        own_scores = _by_row(queries, key.transpose(2, 3), step)  # [kv heads, group, tokens, slots]
        own_scores.masked_fill_(hidden[:, n_shared:], -torch.inf)
        output = value.new_empty(*queries.shape[:3], value.shape[3])
        own_probabilities = torch.empty_like(own_scores, dtype=value.dtype)
        for part in step.parts:
            layer: Any = part.history.layers[module.layer_idx]
            keys, values = layer.keys[0, :, : part.n_shared], layer.values[0, :, : part.n_shared]
            mine = queries[:, :, part.tokens]
            scores = mine.new_empty(*mine.shape[:3], part.n_shared + n_slots)
            torch.bmm(mine.flatten(1, 2), keys.transpose(1, 2), out=scores.flatten(1, 2)[..., : part.n_shared])
            scores[..., : part.n_shared].masked_fill_(hidden[part.tokens, : part.n_shared], -torch.inf)
            scores[..., part.n_shared :] = own_scores[:, :, part.tokens]
            probabilities = torch.softmax(scores, dim=-1).to(value.dtype)
            shared = torch.bmm(probabilities.flatten(1, 2)[..., : part.n_shared], values)
            output[:, :, part.tokens] = shared.view(*mine.shape[:3], -1)
            own_probabilities[:, :, part.tokens] = probabilities[..., part.n_shared :]
        output += _by_row(own_probabilities, value, step)
    return output.flatten(0, 1).transpose(0, 1)[None], None


def _by_row(tokens: torch.Tensor, matrices: torch.Tensor, step: Step) -> torch.Tensor:
    """Multiply each token's vectors [kv heads, group, tokens, n] with its row's matrix [rows, kv heads, n, m]."""
    kv_heads, group, _, n = tokens.shape
    n_rows, n_new = len(matrices), max(step.n_new)
    padded = tokens.new_zeros(n_rows, n_new, kv_heads, group, n)
    padded[step.rows, step.nth] = tokens.permute(2, 0, 1, 3)
    product = torch.matmul(padded.permute(0, 2, 1, 3, 4).reshape(n_rows, kv_heads, n_new * group, n), matrices)
    product = product.view(n_rows, kv_heads, n_new, group, -1).transpose(1, 2)
    return product[step.rows, step.nth].permute(1, 2, 0, 3)
