"""Dropout masks that are made from a seed whenever they are needed, and take no memory between two passes.

16 random bits decide about each number, so a word of numpy's fastest generator decides about four. torch's dropout
takes several times as long. Only a part of a mask exists at a time, one that fits into a processor's cache.
"""

from collections.abc import Iterator
from typing import NamedTuple, Self

import numpy as np
import torch

_N_CHANCES = 2**16  # a probability is a multiple of 1 / 65,536
_N_AT_ONCE = 2**16  # numbers, a multiple of the four of a word
_INTEGERS = {2: torch.int16, 4: torch.int32, 8: torch.int64}


class DropoutMask(NamedTuple):
    """Which numbers of a tensor are dropped: each on its own, with a probability of `n_dropped` / 65,536."""

    seed: int
    n_dropped: int

    @classmethod
    def draw(cls, probability: float) -> Self:
        """Return a mask with a seed of torch's global generator, which resumed runs and checkpointed layers restore."""
        return cls(int(torch.randint(2**63 - 1, ())), min(round(probability * _N_CHANCES), _N_CHANCES - 1))

    @property
    def scale(self) -> float:
        """What the kept numbers are multiplied by, which keeps the expected value of all."""
        return _N_CHANCES / (_N_CHANCES - self.n_dropped)

    def apply(self, *tensors: torch.Tensor) -> list[torch.Tensor]:
        """Return copies of tensors of one shape and dtype with zeros for the dropped numbers. Nothing is scaled."""
        copies = [torch.empty_like(tensor, memory_format=torch.contiguous_format) for tensor in tensors]
        pairs = [(_bits(tensor), _bits(copy)) for tensor, copy in zip(tensors, copies, strict=True)]
        for part, keep in self._parts(pairs[0][1]):
            for before, after in pairs:
                torch.mul(before[part], keep, out=after[part])
        return copies

    def _parts(self, like: torch.Tensor) -> Iterator[tuple[slice, torch.Tensor]]:
        """Yield parts of a flat tensor, and one for each number to keep, zero for the others."""
        words = np.random.SFC64(self.seed)
        threshold = self.n_dropped - _N_CHANCES // 2
        memory = like.new_empty(min(_N_AT_ONCE, len(like)))
        for start in range(0, len(like), _N_AT_ONCE):
            n = min(_N_AT_ONCE, len(like) - start)
            bits = torch.from_numpy(words.random_raw(-(-n // 4)).view(np.int16))[:n]
            yield slice(start, start + n), torch.ge(bits, threshold, out=memory[:n])


def _bits(tensor: torch.Tensor) -> torch.Tensor:
    """A tensor's numbers as flat integers, whose product with one or zero is exact, and fast in any dtype."""
    return tensor.reshape(-1).view(_INTEGERS[tensor.element_size()])
