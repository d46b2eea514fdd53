"""Key-value caches that are cut out of a finished pass and then grow in place. Knows no prompt and no text."""

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
    """How many tokens each row of a cache holds."""

    def __init__(self, n_rows: int, device: torch.device) -> None:
        self.all = [0] * n_rows
        self._device = device
        self._places: torch.Tensor | None = None  # of the last request: every layer asks for the same

    def places(self, n_new: int) -> torch.Tensor:
        """Where the next tokens of each row come to lie, which is their position as well, int64 [rows, new]."""
        if self._places is None or self._places.shape[1] != n_new:
            lengths = torch.tensor(self.all, dtype=torch.int64, device=self._device)
            self._places = lengths[:, None] + torch.arange(n_new, device=self._device)
        return self._places

    def change(self, row: int, length: int) -> None:
        """Give a row another length."""
        self._set([*self.all[:row], length, *self.all[row + 1 :]])

    def add(self, n_tokens: Sequence[int]) -> None:
        """Lengthen each row."""
        self._set([length + n for length, n in zip(self.all, n_tokens, strict=True)])

    def keep(self, rows: Sequence[int]) -> None:
        """Forget all rows but these."""
        self._set([self.all[row] for row in rows])

    def _set(self, lengths: list[int]) -> None:
        self.all, self._places = lengths, None


class _RaggedLayer(DynamicLayer):
    """A layer whose rows grow in buffers laid out beforehand, each at its own end."""

    keys: Any  # [rows, heads, capacity, size]
    values: Any

    def __init__(self, like: Any, lengths: RowLengths, capacity: int) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.keys, self.values = (
            sample.new_zeros(len(lengths.all), sample.shape[1], capacity, sample.shape[3])
            for sample in (like.keys, like.values)
        )
        self.dtype, self.device = like.keys.dtype, like.keys.device
        self.is_initialized = True
        self._lengths = lengths

    def update(
        self, key_states: torch.Tensor, value_states: torch.Tensor, *args: Any, **kwargs: Any
    ) -> tuple[torch.Tensor, torch.Tensor]:
        n_new = key_states.shape[-2]
        places = self._lengths.places(n_new)
        rows = torch.arange(len(places), device=places.device)[:, None]
        for buffer, new in ((self.keys, key_states), (self.values, value_states)):
            buffer[rows, :, places] = new.transpose(1, 2)
        width = self.get_seq_length() + n_new
        return self.keys[:, :, :width], self.values[:, :, :width]

    def get_seq_length(self) -> int:
        return max(self._lengths.all)


class RaggedCache(DynamicCache):
    """Rows of different lengths, without padding: a row's token at position p lies at place p of its buffer.

    What lies behind a row's length is void: a pass writes its new tokens there, and `advance` says how many of them
    are to stay. Rows change by `load`, `advance` and `keep` alone. Attention has to know the lengths, too
    (`trainer.generation.ragged_attention`); with a single row, any will do.
    """

    def __init__(self, like: DynamicCache, *, n_rows: int, capacity: int) -> None:
        super().__init__()
        samples: Any = like.layers
        self.lengths = RowLengths(n_rows, samples[0].keys.device)
        self._ragged = [_RaggedLayer(sample, self.lengths, capacity) for sample in samples]
        self.layers.extend(self._ragged)

    def load(self, row: int, prefix: CachePrefix) -> None:
        """Let a row begin with a prefix, whatever it held."""
        sources: Any = prefix.cache.layers
        for layer, source in zip(self._ragged, sources, strict=True):
            layer.keys[row, :, : prefix.length] = source.keys[0, :, : prefix.length]
            layer.values[row, :, : prefix.length] = source.values[0, :, : prefix.length]
        self.lengths.change(row, prefix.length)

    def advance(self, n_tokens: Sequence[int]) -> None:
        """Keep that many of the tokens that the last pass wrote to each row."""
        self.lengths.add(n_tokens)

    def keep(self, rows: Sequence[int]) -> None:
        """Drop all rows but these; they are numbered anew, in this order."""
        for layer in self._ragged:
            layer.keys, layer.values = layer.keys[list(rows)], layer.values[list(rows)]
        self.lengths.keep(rows)


def empty_cache(config: Any) -> DynamicCache | None:
    """A cache that keeps every token, also in sliding-window layers; None for models with other states.

    A sliding-window layer's own cache forgets tokens; attention masks the same ones out of a full cache.
    """
    kinds = {type(layer) for layer in DynamicCache(config=config).layers}
    return DynamicCache() if kinds <= {DynamicLayer, DynamicSlidingWindowLayer} else None
