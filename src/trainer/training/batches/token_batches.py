"""Batches with at most a number of tokens, instead of a number of rows. The same batches in every epoch."""

from typing import Any

import torch
from torch.utils.data import Dataset

from trainer.kernels.segments import concatenate
from trainer.training.batches.joined_rows import row_lengths

_N_OPEN = 64  # batches that a row may still join, so batches get full in time proportional to the rows


class TokenBatches(Dataset[dict[str, Any]]):
    """Each example is a whole batch: rows, joined or not, with at most `max_tokens` together; a longer row is alone.

    Which rows share a batch depends on the seed alone; without a seed, neighbors do. `lengths` are numbers of tokens.
    With `share`, a batch has beginnings that its rows share once; only the `n_shared` tokens that all rows begin with
    count as such, so a batch can have fewer tokens than its length.
    """

    def __init__(self, rows: Any, *, max_tokens: int, seed: int | None, n_shared: int = 0, share: bool = False) -> None:
        self._rows, self._share = rows, share
        lengths = row_lengths(rows)
        order = list(range(len(lengths)))
        if seed is not None:
            order = torch.randperm(len(lengths), generator=torch.Generator().manual_seed(seed)).tolist()
        own = [length - n_shared for length in lengths]
        self.batches = _filled(own, order, max_tokens=max_tokens - n_shared)
        self.lengths = [n_shared + sum(own[row] for row in batch) for batch in self.batches]

    def __len__(self) -> int:
        return len(self.batches)

    def __getitem__(self, index: int) -> dict[str, Any]:
        rows = [self._rows[row] for row in self.batches[index]]
        names = dict.fromkeys(str(row["session_id"]) for row in rows if "session_id" in row)
        return {**concatenate(rows, share=self._share), "session_id": ", ".join(names)}


def _filled(lengths: list[int], order: list[int], *, max_tokens: int) -> list[list[int]]:
    """Return rows in batches: each joins the first of the newest batches that has room for it."""
    batches: list[list[int]] = []
    n_left: list[int] = []
    for row in order:
        newest = range(max(0, len(batches) - _N_OPEN), len(batches))
        batch = next((index for index in newest if lengths[row] <= n_left[index]), None)
        if batch is None:
            batch = len(batches)
            batches.append([])
            n_left.append(max_tokens)
        batches[batch].append(row)
        n_left[batch] -= lengths[row]
    return batches
