"""Padding rows of tokens into a batch, and packing them."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from transformers.tokenization_utils_base import PreTrainedTokenizerBase

from trainer.collate import PackingCollator, PaddingCollator
from trainer.data import tokenize_session
from trainer.types import IGNORE_INDEX, Message

rows_of_tokens = st.lists(
    st.lists(st.tuples(st.integers(0, 9), st.booleans()), min_size=1, max_size=12), min_size=1, max_size=5
)


def as_row(tokens: list[tuple[int, bool]]) -> dict[str, object]:
    ids = [token for token, _ in tokens]
    labels = [token if supervised else IGNORE_INDEX for token, supervised in tokens]
    return {"input_ids": ids, "labels": labels, "session_id": "extra columns are left out"}


@given(rows_of_tokens, st.integers(1, 8))
def test_every_row_comes_back_from_its_batch(tokens: list[list[tuple[int, bool]]], multiple: int) -> None:
    rows = [as_row(row) for row in tokens]
    batch = PaddingCollator(pad_token_id=3, multiple_of=multiple)(rows)
    assert batch.keys() == {"input_ids", "attention_mask", "labels"}
    assert batch["input_ids"].shape[1] % multiple == 0
    assert batch["input_ids"].shape[1] < max(map(len, tokens)) + multiple
    for index, row in enumerate(rows):
        real = batch["attention_mask"][index].bool()
        assert real.sum() == len(tokens[index])
        assert batch["input_ids"][index][real].tolist() == row["input_ids"]
        assert batch["labels"][index][real].tolist() == row["labels"]
        assert (batch["labels"][index][~real] == IGNORE_INDEX).all()
        assert (batch["input_ids"][index][~real] == 3).all()


def test_a_label_equal_to_the_pad_token_is_kept(tokenizer: PreTrainedTokenizerBase) -> None:
    messages: list[Message] = [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello"}]
    short = tokenize_session(messages, "s", tokenizer, ())
    longer = tokenize_session([*messages, *messages], "s", tokenizer, ())
    stop = tokenizer.eos_token_id
    assert tokenizer.pad_token_id == stop
    batch = PaddingCollator(tokenizer.pad_token_id)([short, longer])
    assert (batch["labels"] == stop).sum(dim=1).tolist() == [1, 2]


def test_all_tensors_are_int64() -> None:
    batch = PaddingCollator(0)([as_row([(1, True)]), as_row([(1, True), (2, False)])])
    assert {tensor.dtype for tensor in batch.values()} == {torch.int64}


def test_an_empty_batch_is_refused() -> None:
    with pytest.raises(ValueError, match="at least one row"):
        PaddingCollator(0)([])


@given(rows_of_tokens, st.integers(1, 8))
def test_every_packed_row_comes_back_without_the_loss_of_its_first_token(
    tokens: list[list[tuple[int, bool]]], multiple: int
) -> None:
    rows = [as_row(row) for row in tokens]
    batch = PackingCollator(pad_token_id=3, multiple_of=multiple)(rows)
    if len(rows) == 1:  # it is padded: there is nothing to keep it apart from
        padded = PaddingCollator(pad_token_id=3, multiple_of=multiple)(rows)
        assert batch.keys() == padded.keys()
        assert all(batch[key].equal(padded[key]) for key in padded)
        return
    assert batch["input_ids"].shape[1] % multiple == 0
    n_tokens = sum(map(len, tokens))
    lengths = [segment.row_length for segment in batch["segments"]]
    assert sum(lengths) == batch["input_ids"].shape[1] < n_tokens + multiple
    assert batch["attention_mask"].sum() == n_tokens
    parts = {key: batch[key][0].split(lengths) for key in ("input_ids", "labels", "position_ids")}
    for index, row in enumerate(rows):
        length = len(tokens[index])
        assert parts["input_ids"][index].tolist() == row["input_ids"]
        assert parts["labels"][index].tolist() == [IGNORE_INDEX, *row["labels"][1:]]  # type: ignore[index]
        assert parts["position_ids"][index].tolist() == list(range(length))
    assert (batch["labels"][0, n_tokens:] == IGNORE_INDEX).all()
