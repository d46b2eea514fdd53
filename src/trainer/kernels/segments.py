"""Rows of one session as one sequence of tokens that has every shared beginning once. Knows no model.

If a chat template rewrites history, a session becomes several rows, and each repeats most of another one. Here the
longest row is whole, and each other row is a branch: its tokens from where it departs from a row before it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from trainer.types import IGNORE_INDEX


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
        return sum(span.end - span.start for span in self.history)

    @property
    def row_length(self) -> int:
        """The number of tokens of the whole row."""
        return self.position + self.end - self.start

    def shifted(self, by: int) -> "Segment":
        """Return the segment in a sequence with `by` more tokens before it."""
        history = tuple(TokenSpan(span.start + by, span.end + by) for span in self.history)
        return Segment(self.start + by, self.end + by, history)


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


def concatenate(examples: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return rows, some of them joined, one after the other: `input_ids`, `labels` and `segments` as in `join_rows`."""
    segments: list[Segment] = []
    for example in examples:
        n_before = segments[-1].end if segments else 0
        segments += [segment.shifted(n_before) for segment in segments_of(example)]
    return {
        "input_ids": np.concatenate([np.asarray(example["input_ids"], dtype=np.int64) for example in examples]),
        "labels": np.concatenate([np.asarray(example["labels"], dtype=np.int64) for example in examples]),
        "segments": tuple(segments),
    }


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
