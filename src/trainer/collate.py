"""Make a batch of rows of tokens: padded to one length, or packed into one long sequence."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from trainer.kernels.segments import Segment, concatenate
from trainer.types import IGNORE_INDEX


@dataclass(frozen=True, slots=True)
class PaddingCollator:
    """Pads on the right to the longest row of the batch and leaves out a row's other columns.

    Padding is recognized by its position, not by its token, so a pad token that is also the stop token keeps
    its label inside a row. `multiple_of` rounds the length up, for kernels that need it.
    """

    pad_token_id: int
    multiple_of: int = 1

    def __call__(self, rows: Sequence[Mapping[str, Any]]) -> dict[str, torch.Tensor]:
        """Returns `input_ids`, `attention_mask` and `labels`, each int64 [batch, tokens]."""
        if not rows:
            raise ValueError("a batch needs at least one row")
        longest = max(len(row["input_ids"]) for row in rows)
        width = -(-longest // self.multiple_of) * self.multiple_of
        shape = (len(rows), width)
        batch = {
            "input_ids": torch.full(shape, self.pad_token_id),
            "attention_mask": torch.zeros(shape, dtype=torch.int64),
            "labels": torch.full(shape, IGNORE_INDEX),
        }
        for index, row in enumerate(rows):
            length = len(row["input_ids"])
            batch["input_ids"][index, :length] = torch.as_tensor(row["input_ids"])
            batch["attention_mask"][index, :length] = 1
            batch["labels"][index, :length] = torch.as_tensor(row["labels"])
        return batch


@dataclass(frozen=True, slots=True)
class PackingCollator:
    """Packs rows into one sequence, without padding between them; leaves out a row's other columns.

    Rows of one session may be joined before (`trainer.kernels.segments.join_rows`); with `share`, sessions that begin
    with the same tokens share them. The model must keep the rows, or the branches, apart
    (`trainer.kernels.packed_attention`). The first token of a segment carries no loss, because the token before it may
    belong to another row. `multiple_of` rounds the length up with padding at the end.
    """

    pad_token_id: int
    multiple_of: int = 1
    share: bool = False

    def __call__(self, rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
        """Returns `input_ids`, `attention_mask`, `labels` and `position_ids`, each int64 [1, tokens].

        Also returns `segments`, a tuple of `Segment`, whose last one is padding if there is any. A single row that is
        not joined is padded, as `PaddingCollator` does.
        """
        if len(rows) < 2 and "segments" not in (rows or [{}])[0]:
            return {**PaddingCollator(self.pad_token_id, self.multiple_of)(rows)}
        packed = concatenate(rows, share=self.share)
        segments = [*packed["segments"]]
        n_tokens = segments[-1].end
        n_padding = -n_tokens % self.multiple_of
        if n_padding:
            segments.append(Segment(n_tokens, n_tokens + n_padding))
        shape = (1, n_tokens + n_padding)
        batch = {
            "input_ids": torch.full(shape, self.pad_token_id),
            "attention_mask": torch.zeros(shape, dtype=torch.int64),
            "labels": torch.full(shape, IGNORE_INDEX),
        }
        batch["input_ids"][0, :n_tokens] = torch.as_tensor(packed["input_ids"])
        batch["attention_mask"][:, :n_tokens] = 1
        batch["labels"][0, :n_tokens] = torch.as_tensor(packed["labels"])
        batch["labels"][0, [segment.start for segment in segments]] = IGNORE_INDEX
        positions = [torch.arange(segment.position, segment.row_length) for segment in segments]
        return {**batch, "position_ids": torch.cat(positions)[None], "segments": tuple(segments)}
