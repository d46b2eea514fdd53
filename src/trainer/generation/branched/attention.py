"""Attention of answers to a history that they share and to their own tokens.

All answers attend to the stem at once, those of a session to the session, and each to its own tokens; the three are
averaged with the sums of their exponentials as weights. The mask is the model's own, including sliding windows, with
the positions that tokens have in their sessions. (Shared prefixes as one product: Juravsky et al. 2024, "Hydragen";
sums: Rabe and Staats 2021, "Self-attention Does Not Need O(n^2) Memory".)
"""

import weakref
from contextlib import AbstractContextManager
from functools import partial
from typing import Any, NamedTuple

import torch
from torch import nn
from transformers.masking_utils import causal_mask_function, sdpa_mask

from trainer.generation.branched.cache import BranchedCache, Step
from trainer.kernels.attention_override import attend_with, needs_eager, replaceable_attention


def may_branch(model: nn.Module) -> bool:
    """Whether a model's attention can be replaced, and declares no features that are missing here."""
    implementation = replaceable_attention(model)
    return implementation is not None and (
        implementation == "sdpa" or (implementation != "eager" and not needs_eager(model))
    )


def branched_attention(model: nn.Module, cache: BranchedCache) -> AbstractContextManager[None]:
    """Inside the block, `model` attends to the rows of `cache`. It must be one that `may_branch`."""
    known = weakref.proxy(cache)  # the functions stay registered after the block
    return attend_with(model, "branched", partial(_attention, known), partial(_mask, known))


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


class _Attended(NamedTuple):
    """The attention of tokens to some keys [kv heads, tokens, group, size], and the logarithm of the sum of their
    exponentials [kv heads, tokens, group]."""

    output: torch.Tensor
    log_sums: torch.Tensor

    def merged(self, other: "_Attended") -> "_Attended":
        """The attention to the keys of both."""
        share = torch.sigmoid(other.log_sums - self.log_sums)[..., None]
        log_sums = torch.logaddexp(self.log_sums, other.log_sums)
        return _Attended(torch.lerp(self.output, other.output, share), log_sums)


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
        attended = _to_own(queries, key, value, hidden[:, -n_slots:], step)
        of_histories = hidden[:, :-n_slots]  # without columns if tokens see all earlier ones
        attended = attended.merged(_to_histories(queries, of_histories, step, module.layer_idx))
        if step.stem:
            stem = step.stem[module.layer_idx]
            of_stem = of_histories[:, : step.n_stem] if of_histories.shape[1] else None
            attended = attended.merged(_to_shared(queries, stem.keys, stem.values, of_stem))
    output = attended.output.to(value.dtype)
    return output.transpose(0, 1).reshape(1, n_tokens, heads, -1), None


def _to_own(
    queries: torch.Tensor, keys: torch.Tensor, values: torch.Tensor, hidden: torch.Tensor, step: Step
) -> _Attended:
    """The attention to the keys of each token's own row. `hidden` is [tokens, slots]."""
    kv_heads, _, group, size = queries.shape
    n_rows, n_new = len(keys), max(step.n_new)
    padded = queries.new_zeros(n_rows, n_new, kv_heads, group, size)
    padded[step.rows, step.nth] = queries.transpose(0, 1)
    hidden_by_row = hidden.new_zeros(n_rows, n_new, hidden.shape[1])
    hidden_by_row[step.rows, step.nth] = hidden
    folded = padded.transpose(1, 2).reshape(n_rows, kv_heads, n_new * group, size)
    attended = _attend(folded, keys, values, hidden_by_row.repeat_interleave(group, dim=1)[:, None])
    by_row = (x.view(n_rows, kv_heads, n_new, group, *x.shape[3:]).transpose(1, 2) for x in attended)
    return _Attended(*(x[step.rows, step.nth].transpose(0, 1) for x in by_row))


def _to_histories(queries: torch.Tensor, hidden: torch.Tensor, step: Step, layer_idx: int) -> _Attended:
    """The attention of each part to its history, without the stem. `hidden` is [tokens, keys], or without columns."""
    attended = []
    for part in step.parts:
        layer: Any = part.history.layers[layer_idx]
        keys, values = layer.keys[:, :, : part.n_shared], layer.values[:, :, : part.n_shared]
        of_part = hidden[part.tokens, step.n_stem :][:, : part.n_shared] if hidden.shape[1] else part.hidden
        attended.append(_to_shared(queries[:, part.tokens], keys, values, of_part))
    return _Attended(*(torch.cat(pieces, dim=1) for pieces in zip(*attended, strict=True)))


def _to_shared(
    queries: torch.Tensor, keys: torch.Tensor, values: torch.Tensor, hidden: torch.Tensor | None
) -> _Attended:
    """The attention of tokens to the same keys [1, kv heads, keys, size]. `hidden` is [tokens, keys]."""
    kv_heads, n_tokens, group, _ = queries.shape
    of_queries = None if hidden is None else hidden.repeat_interleave(group, dim=0)[None, None]
    output, log_sums = _attend(queries.flatten(1, 2)[None], keys, values, of_queries)
    return _Attended(output.view(kv_heads, n_tokens, group, output.shape[-1]), log_sums.view(kv_heads, n_tokens, group))


def _attend(
    queries: torch.Tensor, keys: torch.Tensor, values: torch.Tensor, hidden: torch.Tensor | None
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the attention [rows, kv heads, queries, size] and the logarithms of its sums, in float32 or wider.

    `hidden` is [rows, 1, queries, keys]. A query that sees no key has a sum so low that it counts for nothing.
    """
    lowest = torch.finfo(queries.dtype).min / 2  # not infinite, since all keys may be hidden
    wide = torch.promote_types(values.dtype, torch.float32)
    if not keys.shape[2]:
        output = queries.new_zeros(*queries.shape[:3], values.shape[3], dtype=wide)
        return output, queries.new_full(queries.shape[:3], lowest, dtype=wide)
    if _fits_fused_kernel(queries, keys, values):
        mask = None if hidden is None else torch.zeros_like(hidden, dtype=queries.dtype).masked_fill_(hidden, lowest)
        kernel = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu  # the public one returns no sums
        output, log_sums = kernel(queries, keys, values, attn_mask=mask, scale=1.0)
        return output, log_sums
    scores = torch.matmul(queries, keys.transpose(2, 3))
    if hidden is not None:
        scores.masked_fill_(hidden, lowest)
    probabilities = torch.softmax(scores, dim=-1, dtype=wide)
    log_sums = scores.amax(dim=-1).to(wide) - probabilities.amax(dim=-1).log()
    del scores  # as large as all else here
    return torch.matmul(probabilities.to(values.dtype), values).to(wide), log_sums


def _fits_fused_kernel(queries: torch.Tensor, keys: torch.Tensor, values: torch.Tensor) -> bool:
    """Whether torch's kernel for CPUs takes the tensors: in bfloat16 it is slow, and it checks neither of the rest."""
    tensors = (queries, keys, values)
    return all(
        x.device.type == "cpu" and x.dtype == torch.float32 and x.shape[3] == queries.shape[3] and x.stride(3) == 1
        for x in tensors
    )
