"""Attention of answers to a history that they share and to their own tokens, as plain matrix products.

One product multiplies the queries of all answers of a session with the session's keys, and one softmax covers the
scores of shared and own keys. What all sessions begin with, the stem, is multiplied once for all of them. The mask is
the model's own, including sliding windows, with the positions that tokens have in their sessions. (Shared prefixes as
one product: Juravsky et al. 2024, "Hydragen".)
"""

import weakref
from contextlib import AbstractContextManager
from functools import partial
from typing import Any

import torch
from torch import nn
from transformers.masking_utils import causal_mask_function, sdpa_mask

from trainer.generation.branched.cache import BranchedCache, Part, Step
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


def _mask(
    cache: BranchedCache, *, mask_function: Any, device: Any, use_vmap: bool = False, **options: Any
) -> torch.Tensor | None:
    """The mask, bool [1, 1, tokens, shared + own keys]: what a token sees of its history, then of its own row.

    If tokens see all earlier ones, it is for their own keys only, [1, 1, tokens, own keys].
    """
    step = cache.step
    n_shared = 0 if mask_function is causal_mask_function else step.n_shared

    def allowed(batch: Any, head: Any, query: Any, key: Any) -> Any:
        starts = step.starts[query]
        is_seen = (key < starts) | (key >= n_shared)
        position = torch.where(key < n_shared, key, starts + key - n_shared)
        return is_seen & mask_function(batch, head, step.positions[query], position)

    return sdpa_mask(
        batch_size=1,
        q_length=len(step.rows),
        kv_length=n_shared + step.n_slots,
        mask_function=allowed,
        allow_is_causal_skip=False,
        use_vmap=use_vmap,
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
    hidden = attention_mask[0, 0].logical_not()
    with torch.autocast(query.device.type, enabled=False):
        queries = (query[0] * (size**-0.5 if scaling is None else scaling)).to(key.dtype)
        queries = queries.view(kv_heads, heads // kv_heads, n_tokens, size).transpose(1, 2).contiguous()
        own_scores = _by_row(queries, key.transpose(2, 3), step)  # [kv heads, tokens, group, slots]
        own_scores.masked_fill_(hidden[:, None, -n_slots:], -torch.inf)
        shared = value.new_zeros(
            *queries.shape[:3], value.shape[3], dtype=torch.promote_types(value.dtype, torch.float32)
        )
        own_probabilities = torch.empty_like(own_scores, dtype=value.dtype)
        totals = torch.empty(queries.shape[:3], dtype=shared.dtype, device=queries.device)
        for part in step.parts:
            layer: Any = part.history.layers[module.layer_idx]
            scores = queries.new_empty(
                kv_heads, part.tokens.stop - part.tokens.start, heads // kv_heads, part.n_shared + n_slots
            )
            scores[..., part.n_shared :] = own_scores[:, part.tokens]
            _score_shared(
                scores, queries[:, part.tokens], layer.keys[0], part, hidden[part.tokens, step.n_stem : -n_slots]
            )
            probabilities = torch.softmax(scores, dim=-1).to(value.dtype)
            if step.stem:
                totals[:, part.tokens] = _log_sums(scores, probabilities)
            _add_shared(shared[:, part.tokens], probabilities, layer.values[0], part)
            own_probabilities[:, part.tokens] = probabilities[..., part.n_shared :]
        output = shared.to(value.dtype) + _by_row(own_probabilities, value, step)
        if step.stem:
            hidden_of_stem = hidden[:, :-n_slots][:, : step.n_stem]
            output = _with_stem(output, totals, queries, step.stem[module.layer_idx], hidden_of_stem)
    return output.transpose(0, 1).reshape(1, n_tokens, heads, -1), None


def _score_shared(
    scores: torch.Tensor, queries: torch.Tensor, keys: torch.Tensor, part: Part, hidden: torch.Tensor
) -> None:
    """Write the scores of shared keys to `scores` [kv heads, tokens, group, keys].

    `hidden` [tokens, keys] says which keys a sliding window hides; without windows, it has no columns.
    """
    group = queries.shape[2]
    for block in part.blocks:
        seeing = slice(block.n_some)
        torch.bmm(
            queries[:, seeing].flatten(1, 2),
            keys[:, block.keys].transpose(1, 2),
            out=scores.flatten(1, 2)[:, : block.n_some * group, block.keys],
        )
        if hidden.shape[1]:
            scores[:, seeing, :, block.keys].masked_fill_(hidden[seeing, None, block.keys], -torch.inf)
    for token, n_seen in enumerate(part.n_seen):
        scores[:, token, :, n_seen : part.n_shared] = -torch.inf


def _add_shared(output: torch.Tensor, probabilities: torch.Tensor, values: torch.Tensor, part: Part) -> None:
    """Add the shared values, weighted with their probabilities, to `output` [kv heads, tokens, group, size]."""
    for block in part.blocks:
        mine = output[:, : block.n_some]
        weights = probabilities[:, : block.n_some, :, block.keys].flatten(1, 2)
        mine += torch.bmm(weights, values[:, block.keys]).view(mine.shape)


def _with_stem(
    output: torch.Tensor, totals: torch.Tensor, queries: torch.Tensor, stem: Any, hidden: torch.Tensor
) -> torch.Tensor:
    """Return the attention to the stem and to what follows it, from that to the latter.

    `output` is [kv heads, tokens, group, size], and `totals` are its `_log_sums`. `hidden` may be without columns. Each
    of the two counts by the sum of its exponentials (Rabe and Staats 2021, "Self-attention Does Not Need O(n^2)
    Memory").
    """
    scores = torch.bmm(queries.flatten(1, 2), stem.keys[0].transpose(1, 2)).view(*queries.shape[:3], -1)
    if hidden.shape[1]:
        scores.masked_fill_(hidden[:, None], torch.finfo(scores.dtype).min)  # not infinite, since it may be all
    probabilities = torch.softmax(scores, dim=-1)
    attended = torch.bmm(probabilities.flatten(1, 2).to(stem.values.dtype), stem.values[0]).view(output.shape)
    share = torch.sigmoid(_log_sums(scores, probabilities) - totals)[..., None]
    return torch.lerp(output.to(share.dtype), attended.to(share.dtype), share).to(output.dtype)


def _log_sums(scores: torch.Tensor, probabilities: torch.Tensor) -> torch.Tensor:
    """Return the logarithms of the sums of exponentials, float32, from scores and their softmax, [..., keys]."""
    return scores.amax(dim=-1).float() - probabilities.amax(dim=-1).float().log()


def _by_row(tokens: torch.Tensor, matrices: torch.Tensor, step: Step) -> torch.Tensor:
    """Multiply each token's vectors [kv heads, tokens, group, n] with its row's matrix [rows, kv heads, n, m]."""
    kv_heads, _, group, n = tokens.shape
    n_rows, n_new = len(matrices), max(step.n_new)
    padded = tokens.new_zeros(n_rows, n_new, kv_heads, group, n)
    padded[step.rows, step.nth] = tokens.transpose(0, 1)
    product = torch.matmul(padded.transpose(1, 2).reshape(n_rows, kv_heads, n_new * group, n), matrices)
    return product.view(n_rows, kv_heads, n_new, group, -1).transpose(1, 2)[step.rows, step.nth].transpose(0, 1)
