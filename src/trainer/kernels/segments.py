"""Rows as one sequence of tokens that has every shared beginning once. Knows no model.

If a chat template rewrites history, a session becomes several rows, and each repeats most of another one. Here the
longest row is whole, and each other row is a branch: its tokens from where it departs from a row before it. Rows of
several sessions share a system message and tools in the same way.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from trainer.types import IGNORE_INDEX

FEWEST_SHARED = 64
"""Shorter beginnings are not worth a branch."""


class TokenSpan(NamedTuple):
    """Tokens [start, end) of a sequence."""

    start: int
    end: int


@dataclass(frozen=True, slots=True)
class Segment:
    """Tokens [start, end) of a sequence, which end a row; `history` are the spans that the row begins with, in order.

    A row that is whole has no history. A token sees the history and the tokens before it in its segment.
    """

    start: int
    end: int
    history: tuple[TokenSpan, ...] = ()

    @property
    def spans(self) -> tuple[TokenSpan, ...]:
        """The spans of the whole row."""
        return (*self.history, TokenSpan(self.start, self.end))

    @property
    def position(self) -> int:
        """The position of the segment's first token in its row."""
        return n_tokens_in(self.history)

    @property
    def row_length(self) -> int:
        """The number of tokens of the whole row."""
        return self.position + self.end - self.start

    def moved(self, by: int, beginning: Sequence[TokenSpan] = ()) -> "Segment":
        """Return the segment in a sequence with `by` more tokens before it.

        The first tokens of its row are left out, because the sequence has them already: `beginning` are their spans.
        """
        n_left_out = n_tokens_in(beginning)
        moved: list[TokenSpan] = []
        for span in self.spans:
            if span.start == 0:  # only the first span of a row begins there
                moved += _first_tokens(beginning, span.end)
            moved.append(TokenSpan(max(span.start, n_left_out) + by - n_left_out, span.end + by - n_left_out))
        *history, own = (span for span in moved if span.start < span.end)
        return Segment(own.start, own.end, tuple(history))


def segments_of(example: Mapping[str, Any]) -> tuple[Segment, ...]:
    """Return the segments of joined rows; a row of tokens is one segment."""
    return example["segments"] if "segments" in example else (Segment(0, len(example["input_ids"])),)


def join_rows(rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return rows as one sequence: `input_ids` and `labels` (integers [tokens]), and `segments`, one for each row.

    The rows have `input_ids` and `labels`. A branch begins at least one token before its first label, so every label
    is predicted at the token before it in the sequence, as in a single row.
    """
    longest_first = sorted(rows, key=lambda row: -len(row["input_ids"]))
    ids = [np.asarray(row["input_ids"], dtype=np.int64) for row in longest_first]
    labels = [np.asarray(row["labels"], dtype=np.int64) for row in longest_first]
    segments: list[Segment] = []
    own: list[slice] = []
    n_tokens = 0
    for index, row in enumerate(ids):
        shared = [_n_shared(row, earlier) for earlier in ids[:index]]
        n_most = min(max(shared, default=0), _n_before_labels(labels[index]))
        history = _first_tokens(segments[int(np.argmax(shared))].spans, n_most) if n_most else ()
        own.append(slice(n_most, None))
        segments.append(Segment(n_tokens, n_tokens + len(row) - n_most, history))
        n_tokens = segments[-1].end
    return {
        "input_ids": np.concatenate([row[part] for row, part in zip(ids, own, strict=True)]),
        "labels": np.concatenate([row[part] for row, part in zip(labels, own, strict=True)]),
        "segments": tuple(segments),
    }


def concatenate(examples: Sequence[Mapping[str, Any]], *, share: bool = False) -> dict[str, Any]:
    """Return rows, some of them joined, one after the other: `input_ids`, `labels` and `segments` as in `join_rows`.

    With `share`, an example that begins like an earlier one is a branch of it, under the condition of `join_rows`.
    """
    ids: list[np.ndarray] = []
    labels: list[np.ndarray] = []
    segments: list[Segment] = []
    known: list[tuple[np.ndarray, tuple[TokenSpan, ...]]] = []  # the first row of each example, and where it is
    n_tokens = 0
    for example in examples:
        own_ids, own_labels = (np.asarray(example[key], dtype=np.int64) for key in ("input_ids", "labels"))
        first, *others = segments_of(example)
        row = own_ids[: first.end]
        beginning = _known_beginning(row, own_labels[: first.end], known) if share else ()
        segments += [segment.moved(n_tokens, beginning) for segment in (first, *others)]
        n_left_out = n_tokens_in(beginning)
        ids.append(own_ids[n_left_out:])
        labels.append(own_labels[n_left_out:])
        known.append((row, first.moved(n_tokens, beginning).spans))
        n_tokens = segments[-1].end
    return {"input_ids": np.concatenate(ids), "labels": np.concatenate(labels), "segments": tuple(segments)}


def n_shared_by_all(examples: Iterable[Mapping[str, Any]]) -> int:
    """Return how many tokens every one of the examples begins with, if that is worth a branch; else 0."""
    common: np.ndarray | None = None
    for example in examples:
        first = segments_of(example)[0]
        row = np.asarray(example["input_ids"], dtype=np.int64)[: first.end]
        most = row[: _n_before_labels(np.asarray(example["labels"])[: first.end])]
        common = most if common is None else common[: _n_shared(common, most)]
        if len(common) < FEWEST_SHARED:
            return 0
    return 0 if common is None else len(common)


def n_tokens_in(spans: Iterable[TokenSpan]) -> int:
    """Return the number of tokens of spans."""
    return sum(span.end - span.start for span in spans)


def _known_beginning(
    row: np.ndarray, labels: np.ndarray, known: Sequence[tuple[np.ndarray, tuple[TokenSpan, ...]]]
) -> tuple[TokenSpan, ...]:
    """Return the spans of the longest beginning of a row that a known row has as well; none if it is short."""
    shared = [_n_shared(row, earlier) for earlier, _ in known]
    n_most = min(max(shared, default=0), _n_before_labels(labels))
    return _first_tokens(known[int(np.argmax(shared))][1], n_most) if n_most >= FEWEST_SHARED else ()


def _n_shared(first: np.ndarray, second: np.ndarray) -> int:
    """Return the number of tokens that two rows have in common at their start."""
    n = min(len(first), len(second))
    differs = first[:n] != second[:n]
    return int(differs.argmax()) if differs.any() else n


def _n_before_labels(labels: np.ndarray) -> int:
    """Return how many tokens of a row another one may hold: none with a label, nor the one before the first."""
    labelled = labels != IGNORE_INDEX
    labelled[:1] = False  # nothing predicts the first token
    return max(0, int(labelled.argmax()) - 1 if labelled.any() else len(labels) - 1)


def _first_tokens(spans: Sequence[TokenSpan], n_tokens: int) -> tuple[TokenSpan, ...]:
    """Return the first `n_tokens` of spans."""
    first: list[TokenSpan] = []
    for span in spans:
        if n_tokens > 0:
            first.append(TokenSpan(span.start, min(span.end, span.start + n_tokens)))
        n_tokens -= span.end - span.start
    return tuple(first)
