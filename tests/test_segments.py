"""Joined rows: every row comes back from its spans, shared beginnings are there once, and labels follow their token."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from tests.test_collate import as_row, rows_of_tokens
from trainer.kernels.segments import Segment, TokenSpan, join_rows, segments_of
from trainer.types import IGNORE_INDEX

few_tokens = st.lists(st.lists(st.tuples(st.integers(0, 1), st.booleans()), min_size=1, max_size=9), min_size=1)


@given(st.one_of(rows_of_tokens, few_tokens))
def test_every_row_comes_back_with_its_labels(tokens: list[list[tuple[int, bool]]]) -> None:
    rows = [as_row(row) for row in tokens]
    joined = join_rows(rows)
    ids, labels = joined["input_ids"], joined["labels"]
    found = []
    for segment in joined["segments"]:
        row = np.concatenate([ids[start:end] for start, end in segment.spans]).tolist()
        own = labels[segment.start : segment.end].tolist()
        assert len(row) == segment.row_length
        assert own[0] == IGNORE_INDEX or segment.position == 0  # the token before it may be another row's
        found.append((row, [IGNORE_INDEX] * segment.position + own))
    # The label of a row's first token has nothing that predicts it.
    expected = [(row["input_ids"], [IGNORE_INDEX, *row["labels"][1:]]) for row in rows]  # type: ignore[index]
    assert sorted((ids, [IGNORE_INDEX, *labels[1:]]) for ids, labels in found) == sorted(expected)


def test_a_row_begins_where_it_departs_from_the_row_that_is_most_like_it() -> None:
    first = {"input_ids": [1, 2, 3, 4, 5, 6, 7, 8], "labels": [IGNORE_INDEX] * 6 + [7, 8]}
    second = {"input_ids": [1, 2, 3, 9, 10, 11, 12], "labels": [IGNORE_INDEX] * 6 + [12]}
    third = {"input_ids": [1, 2, 3, 9, 13, 14], "labels": [IGNORE_INDEX] * 4 + [13, 14]}
    joined = join_rows([third, first, second])
    assert joined["input_ids"].tolist() == [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 9, 13, 14]
    assert joined["segments"] == (
        Segment(0, 8),
        Segment(8, 12, (TokenSpan(0, 3),)),
        Segment(12, 15, (TokenSpan(0, 3),)),  # one token is there twice, because it predicts the first label
    )


def test_a_row_that_is_not_joined_is_one_segment() -> None:
    assert segments_of({"input_ids": [1, 2, 3]}) == (Segment(0, 3),)
