"""Make a batch of rows of tokens: padded to one length, or packed into one long row."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch

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
    """Packs rows into one, without padding between them; leaves out a row's other columns.

    The model must keep the rows apart (`trainer.kernels.packed_attention`). The first token of a row carries no loss,
    because the token before it belongs to another row. `multiple_of` rounds the length up with padding at the end.
    """

    pad_token_id: int
    multiple_of: int = 1

    def __call__(self, rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
        """Returns `input_ids`, `attention_mask`, `labels` and `position_ids`, each int64 [1, tokens].

        Also returns `row_lengths`, a tuple of numbers of tokens, whose last one is that of padding if there is any.
        A single row is padded, as `PaddingCollator` does.
        """
        if len(rows) < 2:
            return {**PaddingCollator(self.pad_token_id, self.multiple_of)(rows)}
        lengths = [len(row["input_ids"]) for row in rows]
        n_padding = -sum(lengths) % self.multiple_of
        ids = [torch.as_tensor(row["input_ids"]) for row in rows]
        labels = [torch.as_tensor(row["labels"]).clone() for row in rows]
        for row in labels:
            row[:1] = IGNORE_INDEX
        if n_padding:
            lengths.append(n_padding)
            ids.append(torch.full((n_padding,), self.pad_token_id))
            labels.append(torch.full((n_padding,), IGNORE_INDEX))
        attended = torch.ones(1, sum(lengths), dtype=torch.int64)
        attended[:, sum(lengths) - n_padding :] = 0
        return {
            "input_ids": torch.cat(ids)[None],
            "attention_mask": attended,
            "labels": torch.cat(labels)[None],
            "position_ids": torch.cat([torch.arange(length) for length in lengths])[None],
            "row_lengths": tuple(lengths),
        }
