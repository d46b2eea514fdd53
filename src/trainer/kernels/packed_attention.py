"""Attention in a batch whose rows are packed into one: every row attends to itself only.

The positions of every row begin at zero. transformers uses this to find where rows begin, and masks accordingly. But a
mask of all pairs of tokens is large, and a kernel computes the pairs that it forbids, so here every row is attended
to alone. Whether a model keeps rows apart is tried, not assumed: recurrent layers and short convolutions do not.
"""

from collections.abc import Sequence
from contextlib import AbstractContextManager
from functools import partial
from typing import Any

import torch
from torch import nn
from transformers.masking_utils import sdpa_mask

from trainer.kernels.attention_override import attend_with
from trainer.kernels.blocked_attention import attend_in_blocks, attention_in_blocks
from trainer.kernels.trial import equal_within_rounding, kept_mode, pretrained_model

_PROBE_LENGTHS = (9, 14, 3)


def attend_by_row(model: nn.Module, row_lengths: Sequence[int]) -> AbstractContextManager[None]:
    """Inside the block, the packed rows of a batch, of these lengths, attend to themselves only.

    Without lengths, or with one, this is `attend_in_blocks`. The model must be one that `keeps_rows_apart`.
    """
    if len(row_lengths) < 2:
        return attend_in_blocks(model)
    lengths = list(row_lengths)
    return attend_with(model, "sdpa_by_row", partial(_attention, lengths), partial(_mask, max(lengths)))


def _mask(longest: int, *, local_size: int | None = None, **options: Any) -> torch.Tensor | None:
    """Return no mask if every row is attended to alone and causally, without a window that is shorter than a row."""
    if local_size is None or local_size >= longest:
        return None
    return sdpa_mask(local_size=local_size, **options)


def _attention(
    lengths: Sequence[int],
    module: nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    **options: Any,
) -> tuple[torch.Tensor, None]:
    """Shapes: query [1, heads, tokens, size]; key, value [1, kv heads, tokens, size]; a mask [1, 1, tokens, tokens]."""
    outputs, start = [], 0
    for length in lengths:
        row = slice(start, start + length)
        mask = None if attention_mask is None else attention_mask[:, :, row, row]
        q, k, v = (tensor[:, :, row] for tensor in (query, key, value))
        outputs.append(attention_in_blocks(module, q, k, v, mask, **options)[0])
        start += length
    return torch.cat(outputs, dim=1), None


@torch.no_grad()
def keeps_rows_apart(model: nn.Module) -> bool:
    """Try whether a model that attends with torch's kernel computes the same for packed rows as for each row alone."""
    if _counts_chunks(model):
        return False
    embedding: Any = model.get_input_embeddings()  # type: ignore[operator]
    device = embedding.weight.device
    generator = torch.Generator().manual_seed(0)
    rows = [torch.randint(embedding.num_embeddings, (1, n), generator=generator).to(device) for n in _PROBE_LENGTHS]
    positions = torch.cat([torch.arange(n, device=device) for n in _PROBE_LENGTHS])[None]
    with kept_mode(model):
        model.eval()
        expected = torch.cat([model(input_ids=row, use_cache=False).logits for row in rows], dim=1)
        with attend_by_row(model, _PROBE_LENGTHS):
            found = model(input_ids=torch.cat(rows, dim=1), position_ids=positions, use_cache=False).logits
    return equal_within_rounding(found, expected, dtype=embedding.weight.dtype)


def _counts_chunks(model: nn.Module) -> bool:
    """Whether layers attend within chunks, which are counted from the start of a batch, not of a row."""
    base = pretrained_model(model)
    text = base.config.get_text_config() if base is not None else None
    return "chunked_attention" in (getattr(text, "layer_types", None) or ())
