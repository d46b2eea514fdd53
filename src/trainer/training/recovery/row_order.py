"""The order of training rows: a function of the seed and the epoch, so that a resumed run has the same one."""

from collections.abc import Iterator, Sequence

import numpy as np
import torch
from torch.utils.data import Sampler
from transformers.trainer_pt_utils import get_length_grouped_indices


class EpochOrder(Sampler[int]):
    """Row indices in the order of one epoch; set `epoch` before iterating.

    Without `lengths` the order is random. With them, each run of `group_size` rows has similar lengths.
    """

    def __init__(self, n_rows: int, *, seed: int, lengths: Sequence[int] | None = None, group_size: int = 1) -> None:
        self.epoch = 0
        self._n_rows, self._seed = n_rows, seed
        self._lengths, self._group_size = lengths, group_size

    def __len__(self) -> int:
        return self._n_rows

    def __iter__(self) -> Iterator[int]:
        seed = int(np.random.SeedSequence([self._seed, self.epoch]).generate_state(1)[0])
        generator = torch.Generator().manual_seed(seed)
        if self._lengths is None:
            yield from torch.randperm(self._n_rows, generator=generator).tolist()
        else:
            yield from get_length_grouped_indices(list(self._lengths), self._group_size, generator=generator)
