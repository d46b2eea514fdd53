"""KV caches that start from a finished pass and then grow in place."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from transformers import DynamicCache
from transformers.cache_utils import DynamicLayer, DynamicSlidingWindowLayer


class CachePrefix(NamedTuple):
    """The first `length` tokens of row 0 of a cache."""

    cache: DynamicCache
    length: int


class RowLengths:
    """The number of tokens in each row of a cache."""

    def __init__(self, n_rows: int, device: torch.device) -> None:
        self.values = [0] * n_rows
        self._device = device
        self._next: torch.Tensor | None = None  # from the last call: every layer makes the same one

    def next_positions(self, n_new: int) -> torch.Tensor:
        """The positions of each row's next tokens, which are also their indices in the buffer, int64 [rows, new]."""
        if self._next is None or self._next.shape[1] != n_new:
            lengths = torch.tensor(self.values, dtype=torch.int64, device=self._device)
            self._next = lengths[:, None] + torch.arange(n_new, device=self._device)
        return self._next

    def set_length(self, row: int, length: int) -> None:
        """Set the length of one row."""
        self._replace([*self.values[:row], length, *self.values[row + 1 :]])

    def add(self, n_tokens: Sequence[int]) -> None:
        """Add to the length of each row."""
        self._replace([length + n for length, n in zip(self.values, n_tokens, strict=True)])

    def keep(self, rows: Sequence[int]) -> None:
        """Drop all rows except these."""
        self._replace([self.values[row] for row in rows])

    def _replace(self, lengths: list[int]) -> None:
        self.values, self._next = lengths, None


class _RaggedLayer(DynamicLayer):
    """A cache layer with preallocated buffers, in which each row grows from its own end."""

    keys: Any  # [rows, heads, capacity, size]
    values: Any

    def __init__(self, like: Any, lengths: RowLengths, capacity: int) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.keys, self.values = (
            sample.new_zeros(len(lengths.values), sample.shape[1], capacity, sample.shape[3])
            for sample in (like.keys, like.values)
        )
        self.dtype, self.device = like.keys.dtype, like.keys.device
        self.is_initialized = True
        self._lengths = lengths

    def update(
        self, key_states: torch.Tensor, value_states: torch.Tensor, *args: Any, **kwargs: Any
    ) -> tuple[torch.Tensor, torch.Tensor]:
        n_new = key_states.shape[-2]
        positions = self._lengths.next_positions(n_new)
        rows = torch.arange(len(positions), device=positions.device)[:, None]
        for buffer, new in ((self.keys, key_states), (self.values, value_states)):
            # Under autocast, values can be in bfloat16 although the cache that this one is like has float32.
            buffer[rows, :, positions] = new.transpose(1, 2).to(buffer.dtype)
        width = self.get_seq_length() + n_new
        return self.keys[:, :, :width], self.values[:, :, :width]

    def get_seq_length(self) -> int:
        return max(self._lengths.values)


class RaggedCache(DynamicCache):
    """Rows of different lengths without padding: a row's token at position p is at index p of its buffer.

    Entries after a row's length are invalid: a pass writes its new tokens there, and `advance` sets how many of them
    to keep. Only `load`, `advance` and `keep` change rows. Attention also needs the lengths
    (`trainer.generation.ragged_attention`), except with a single row.
    """

    def __init__(self, like: DynamicCache, *, n_rows: int, capacity: int) -> None:
        super().__init__()
        samples: Any = like.layers
        self.lengths = RowLengths(n_rows, samples[0].keys.device)
        self._ragged = [_RaggedLayer(sample, self.lengths, capacity) for sample in samples]
        self.layers.extend(self._ragged)

    def load(self, row: int, prefix: CachePrefix) -> None:
        """Replace the content of a row with a prefix."""
        sources: Any = prefix.cache.layers
        for layer, source in zip(self._ragged, sources, strict=True):
            layer.keys[row, :, : prefix.length] = source.keys[0, :, : prefix.length]
            layer.values[row, :, : prefix.length] = source.values[0, :, : prefix.length]
        self.lengths.set_length(row, prefix.length)

    def advance(self, n_tokens: Sequence[int]) -> None:
        """Keep this many of the tokens that the last pass wrote to each row."""
        self.lengths.add(n_tokens)

    def keep(self, rows: Sequence[int]) -> None:
        """Drop all rows except these, which are renumbered in this order."""
        for layer in self._ragged:
            layer.keys, layer.values = layer.keys[list(rows)], layer.values[list(rows)]
        self.lengths.keep(rows)


def empty_cache(config: Any) -> DynamicCache | None:
    """A cache that keeps every token, also in sliding-window layers; None for models with other kinds of state.

    A sliding-window layer's own cache drops tokens. In a full cache, attention masks the same tokens.
    """
    kinds = {type(layer) for layer in DynamicCache(config=config).layers}
    return DynamicCache() if kinds <= {DynamicLayer, DynamicSlidingWindowLayer} else None
