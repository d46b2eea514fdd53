"""Attention in a batch whose rows are packed into one sequence: every row attends to itself only.

The positions of every row begin at zero. transformers uses this to find where rows begin, and masks accordingly. But a
mask of all pairs of tokens is large, and a kernel computes the pairs that it forbids, so here every whole row is
attended to alone. Rows of one session may be joined (`trainer.kernels.segments`): the tokens of a branch also attend to
those that its row shares with another one, through a mask. Whether a model keeps rows apart is tried, not assumed:
recurrent layers and short convolutions do not.
"""

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from itertools import groupby
from typing import Any

import torch
from torch import nn

from trainer.kernels.attention_override import attend_with
from trainer.kernels.blocked_attention import (
    attend_in_blocks,
    attention_in_blocks,
    masked_attention_in_blocks,
)
from trainer.kernels.segments import Segment, TokenSpan
from trainer.kernels.trial import equal_within_rounding, kept_mode, pretrained_model

_PROBE = (Segment(0, 9), Segment(9, 23), Segment(23, 26))
_BRANCHED_PROBE = (
    Segment(0, 14),
    Segment(14, 19, (TokenSpan(0, 8),)),
    Segment(19, 22, (TokenSpan(0, 8), TokenSpan(14, 17))),
    Segment(22, 31),
    Segment(31, 32, (TokenSpan(22, 26),)),
)


def attend_by_row(model: nn.Module, segments: Sequence[Segment]) -> AbstractContextManager[None]:
    """Inside the block, the packed rows of a batch, with these segments, attend to themselves only.

    Without segments, or with one, this is `attend_in_blocks`. The model must be one that `keeps_rows_apart`.
    """
    if len(segments) < 2:
        return attend_in_blocks(model)
    attention = _RowAttention(segments)
    return attend_with(model, "sdpa_by_row", attention, attention.mask)


class _RowAttention:
    """The attention of one batch. Masks are boolean [1, 1, queries, keys], True where a query sees a key."""

    def __init__(self, segments: Sequence[Segment]) -> None:
        self._segments = tuple(segments)
        self._longest = max(segment.row_length for segment in segments)
        self._runs = tuple(_runs(self._segments))
        self._masks: dict[tuple[int, torch.device], torch.Tensor] = {}

    def mask(
        self, *, device: torch.device | str = "cpu", local_size: int | None = None, **options: Any
    ) -> torch.Tensor | None:
        """Return the mask of all pairs for layers with a window that is shorter than a row; the others need none."""
        if local_size is None or local_size >= self._longest:
            return None
        everything = TokenSpan(0, self._segments[-1].end)
        return _visible(self._segments, everything, device=device, local_size=local_size)

    def __call__(
        self,
        module: nn.Module,
        query: torch.Tensor,
        key: torch.Tensor,
        value: torch.Tensor,
        attention_mask: torch.Tensor | None,
        **options: Any,
    ) -> tuple[torch.Tensor, None]:
        """Shapes: query [1, heads, tokens, size]; key, value [1, kv heads, tokens, size]."""
        outputs = []
        for run, keys in self._runs:
            rows, columns = slice(run[0].start, run[-1].end), slice(*keys)
            parts = (module, query[:, :, rows], key[:, :, columns], value[:, :, columns])
            mask = None if attention_mask is None else attention_mask[:, :, rows, columns]
            if run[0].history:
                mask = self._branch_mask(run, keys, query.device) if mask is None else mask
                output, _ = masked_attention_in_blocks(*parts, mask, **options)
            else:
                output, _ = attention_in_blocks(*parts, mask, **options)
            outputs.append(output)
        return torch.cat(outputs, dim=1), None

    def _branch_mask(self, run: Sequence[Segment], keys: TokenSpan, device: torch.device) -> torch.Tensor:
        """Return the mask of branches, which all layers share."""
        name = (run[0].start, device)
        if name not in self._masks:
            self._masks[name] = _visible(run, keys, device=device)
        return self._masks[name]


def _runs(segments: Sequence[Segment]) -> Iterator[tuple[tuple[Segment, ...], TokenSpan]]:
    """Yield what is attended to at once, and its keys: each whole row, and branches that follow each other together."""
    for branched, group in groupby(segments, key=lambda segment: bool(segment.history)):
        run = tuple(group)
        for part in [run] if branched else [(segment,) for segment in run]:
            first = min(span.start for segment in part for span in segment.spans)
            yield part, TokenSpan(first, part[-1].end)


def _visible(
    segments: Sequence[Segment], keys: TokenSpan, *, device: torch.device | str, local_size: int | None = None
) -> torch.Tensor:
    """Return which of the `keys` each token of consecutive segments sees: boolean [1, 1, tokens, keys].

    A token sees those of its row up to itself; with `local_size`, only that many.
    """
    first = segments[0].start
    visible = torch.zeros(segments[-1].end - first, keys.end - keys.start, dtype=torch.bool, device=device)
    for segment in segments:
        n_own, n_before = segment.end - segment.start, segment.position
        row = torch.ones(n_own, segment.row_length, dtype=torch.bool, device=device).tril_(n_before)
        if local_size is not None:
            row.triu_(n_before - local_size + 1)
        parts = row.split([span.end - span.start for span in segment.spans], dim=1)
        for span, part in zip(segment.spans, parts, strict=True):
            visible[segment.start - first : segment.end - first, span.start - keys.start : span.end - keys.start] = part
    return visible[None, None]


def keeps_rows_apart(model: nn.Module) -> bool:
    """Try whether a model that attends with torch's kernel computes the same for packed rows as for each row alone."""
    return _computes_rows(model, _PROBE)


def keeps_branches_apart(model: nn.Module) -> bool:
    """Try whether the model also computes the same for joined rows, whose shared beginnings it computes once."""
    return _computes_rows(model, _BRANCHED_PROBE)


@torch.no_grad()
def _computes_rows(model: nn.Module, segments: Sequence[Segment]) -> bool:
    if _counts_chunks(model):
        return False
    embedding: Any = model.get_input_embeddings()  # type: ignore[operator]
    device = embedding.weight.device
    generator = torch.Generator().manual_seed(0)
    ids = torch.randint(embedding.num_embeddings, (1, segments[-1].end), generator=generator).to(device)
    positions = torch.cat([torch.arange(segment.position, segment.row_length, device=device) for segment in segments])
    with kept_mode(model):
        model.eval()
        expected = []
        for segment in segments:
            row = torch.cat([ids[:, span.start : span.end] for span in segment.spans], dim=1)
            expected.append(model(input_ids=row, use_cache=False).logits[:, segment.position :])
        with attend_by_row(model, segments):
            found = model(input_ids=ids, position_ids=positions[None], use_cache=False).logits
    return equal_within_rounding(found, torch.cat(expected, dim=1), dtype=embedding.weight.dtype)


def _counts_chunks(model: nn.Module) -> bool:
    """Whether layers attend within chunks, which are counted from the start of a batch, not of a row."""
    base = pretrained_model(model)
    text = base.config.get_text_config() if base is not None else None
    return "chunked_attention" in (getattr(text, "layer_types", None) or ())
