"""Attention in a batch whose rows are packed into one sequence: every row attends to itself only.

The positions of every row begin at zero. transformers uses this to find where rows begin, and masks accordingly. But a
mask of all pairs of tokens is large, and a kernel computes the pairs that it forbids, so here every whole row is
attended to alone. Rows may share beginnings (`trainer.kernels.segments`): the tokens of a branch also attend to those
that its row shares with another one, and short branches are attended to together, through a mask. Whether a model keeps
rows apart is tried, not assumed: recurrent layers and short convolutions do not.
"""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
from itertools import accumulate, pairwise
from typing import Any, NamedTuple

import torch
from torch import nn

from trainer.kernels.attention_override import attend_with
from trainer.kernels.blocked_attention import (
    attend_in_blocks,
    attention_in_blocks,
    masked_attention_in_blocks,
)
from trainer.kernels.segments import Segment, TokenSpan, n_tokens_in
from trainer.kernels.trial import equal_within_rounding, kept_mode, pretrained_model

_LONG_BRANCH = 256  # tokens from which a branch is attended to alone, so that no pair is computed in vain
_MOST_TOGETHER = 2_048  # tokens of short branches that share a mask, so that masks stay small
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


class _Run(NamedTuple):
    """What is attended to at once: the queries of consecutive segments, and spans that hold every key they see."""

    segments: tuple[Segment, ...]
    keys: tuple[TokenSpan, ...]

    @property
    def queries(self) -> slice:
        return slice(self.segments[0].start, self.segments[-1].end)


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
        everything = (TokenSpan(0, self._segments[-1].end),)
        return _visible(_Run(self._segments, everything), device=device, local_size=local_size)

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
        keys, values = _Pieces(key, self._runs, dim=2), _Pieces(value, self._runs, dim=2)
        outputs = []
        for run in self._runs:
            parts = (module, query[:, :, run.queries], keys.joined(run), values.joined(run))
            mask = None
            if attention_mask is not None:
                mask = torch.cat([attention_mask[:, :, run.queries, slice(*span)] for span in run.keys], dim=3)
            if run.segments[0].history:
                seen = self._branch_mask(run, query.device) if mask is None else mask
                output, _ = masked_attention_in_blocks(*parts, seen, **options)
            else:
                output, _ = attention_in_blocks(*parts, mask, **options)
            outputs.append(output)
        return torch.cat(outputs, dim=1), None

    def _branch_mask(self, run: _Run, device: torch.device) -> torch.Tensor:
        """Return the mask of branches, which all layers share."""
        name = (run.segments[0].start, device)
        if name not in self._masks:
            self._masks[name] = _visible(run, device=device)
        return self._masks[name]


class _Pieces:
    """A tensor, cut along `dim` wherever the keys of a run begin or end.

    Slices of the whole would each have a gradient as large as the whole; pieces have gradients of their own sizes.
    """

    def __init__(self, whole: torch.Tensor, runs: Sequence[_Run], *, dim: int) -> None:
        cuts = sorted({0, whole.shape[dim], *(cut for run in runs for span in run.keys for cut in span)})
        sizes = [end - start for start, end in pairwise(cuts)]
        self._pieces = dict(zip(cuts, whole.split(sizes, dim=dim), strict=False))
        self._dim = dim

    def joined(self, run: _Run) -> torch.Tensor:
        """Return the parts of the tensor that a run sees, as one."""
        parts = [piece for span in run.keys for start, piece in self._pieces.items() if span.start <= start < span.end]
        return parts[0] if len(parts) == 1 else torch.cat(parts, dim=self._dim)


def _runs(segments: Sequence[Segment]) -> Iterator[_Run]:
    """Yield what is attended to at once: each whole row, each long branch, and neighboring short branches."""
    run: list[Segment] = []
    for segment in segments:
        is_full = run and segment.end - run[0].start > _MOST_TOGETHER
        if run and (is_full or _is_alone(run[-1]) or _is_alone(segment)):
            yield _run_of(run)
            run = []
        run.append(segment)
    yield _run_of(run)


def _is_alone(segment: Segment) -> bool:
    return not segment.history or segment.end - segment.start >= _LONG_BRANCH


def _run_of(segments: Sequence[Segment]) -> _Run:
    return _Run(tuple(segments), tuple(_merged(span for segment in segments for span in segment.spans)))


def _merged(spans: Iterable[TokenSpan]) -> Iterator[TokenSpan]:
    """Yield the fewest spans that hold the same tokens, in order."""
    start = end = -1
    for span in sorted(spans):
        if span.start > end:
            if end > 0:
                yield TokenSpan(start, end)
            start = span.start
        end = max(end, span.end)
    yield TokenSpan(start, end)


def _visible(run: _Run, *, device: torch.device | str, local_size: int | None = None) -> torch.Tensor:
    """Return which of the keys each token of a run sees: boolean [1, 1, tokens, keys].

    A token sees those of its row up to itself; with `local_size`, only that many.
    """
    first, n_queries = run.queries.start, run.queries.stop - run.queries.start
    visible = torch.zeros(n_queries, n_tokens_in(run.keys), dtype=torch.bool, device=device)
    places = dict(zip(run.keys, accumulate(map(_size, run.keys), initial=0), strict=False))
    for segment in run.segments:
        n_own, n_before = segment.end - segment.start, segment.position
        row = torch.ones(n_own, segment.row_length, dtype=torch.bool, device=device).tril_(n_before)
        if local_size is not None:
            row.triu_(n_before - local_size + 1)
        parts = row.split([_size(span) for span in segment.spans], dim=1)
        for span, part in zip(segment.spans, parts, strict=True):
            holder = next(keys for keys in run.keys if keys.start <= span.start < keys.end)
            column = places[holder] + span.start - holder.start
            visible[segment.start - first : segment.end - first, column : column + _size(span)] = part
    return visible[None, None]


def _size(span: TokenSpan) -> int:
    return span.end - span.start


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
    ids = torch.randint(len(embedding.weight), (1, segments[-1].end), generator=generator).to(device)
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
