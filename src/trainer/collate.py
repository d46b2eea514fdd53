"""Pad rows of tokens into a batch."""

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
