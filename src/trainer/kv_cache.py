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


class _Rows:
    """How many tokens each row of a cache holds; one for all its layers."""

    def __init__(self, n_rows: int, device: torch.device) -> None:
        self.lengths = [0] * n_rows
        self.device = device

    def places(self, n_new: int) -> torch.Tensor:
        """Where the next tokens of each row come to lie, which is their position as well, int64 [rows, new]."""
        lengths = torch.tensor(self.lengths, dtype=torch.int64, device=self.device)
        return lengths[:, None] + torch.arange(n_new, device=self.device)


class _RaggedLayer(DynamicLayer):
    """A layer whose rows grow in buffers laid out beforehand, each at its own end."""

    def __init__(self, like: Any, rows: _Rows, capacity: int) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._rows = rows
        self._show(
            *(  # each [rows, heads, capacity, size]
                sample.new_zeros(len(rows.lengths), sample.shape[1], capacity, sample.shape[3])
                for sample in (like.keys, like.values)
            )
        )
        self.dtype, self.device = like.keys.dtype, like.keys.device
        self.is_initialized = True

    def update(
        self, key_states: torch.Tensor, value_states: torch.Tensor, *args: Any, **kwargs: Any
    ) -> tuple[torch.Tensor, torch.Tensor]:
        n_new = key_states.shape[-2]
        places = self._rows.places(n_new)
        rows = torch.arange(len(places), device=places.device)[:, None]
        for buffer, new in zip(self._buffers, (key_states, value_states), strict=True):
            buffer[rows, :, places] = new.transpose(1, 2)
        keys, values = (buffer[:, :, : self.get_seq_length() + n_new] for buffer in self._buffers)
        return keys, values

    def get_seq_length(self) -> int:
        return max(self._rows.lengths)

    def load(self, row: int, source: Any, length: int) -> None:
        for buffer, other in zip(self._buffers, (source.keys, source.values), strict=True):
            buffer[row, :, :length] = other[0, :, :length]

    def keep(self, rows: torch.Tensor) -> None:
        self._show(*(buffer[rows] for buffer in self._buffers))

    def _show(self, keys: torch.Tensor, values: torch.Tensor) -> None:
        self._buffers = (keys, values)
        self.keys, self.values = keys, values


class RaggedCache(DynamicCache):
    """Rows of different lengths, without padding: a row's token at position p lies at place p of its buffer.

    What lies behind a row's length is void: a pass writes its new tokens there, and `advance` says how many of them
    are to stay. Attention has to know the lengths, too (`trainer.ragged_attention`); with a single row, any will do.
    """

    def __init__(self, like: DynamicCache, *, n_rows: int, capacity: int) -> None:
        super().__init__()
        samples: Any = like.layers
        self._rows = _Rows(n_rows, samples[0].keys.device)
        self._ragged = [_RaggedLayer(sample, self._rows, capacity) for sample in samples]
        self.layers.extend(self._ragged)

    def places(self, n_new: int) -> torch.Tensor:
        """The positions of the next tokens of each row, int64 [rows, new]."""
        return self._rows.places(n_new)

    def load(self, row: int, prefix: CachePrefix) -> None:
        """Let a row begin with a prefix, whatever it held."""
        for layer, source in zip(self._ragged, prefix.cache.layers, strict=True):
            layer.load(row, source, prefix.length)
        self._rows.lengths[row] = prefix.length

    def advance(self, n_tokens: Sequence[int]) -> None:
        """Keep that many of the tokens that the last pass wrote to each row."""
        self._rows.lengths = [length + n for length, n in zip(self._rows.lengths, n_tokens, strict=True)]

    def keep(self, rows: Sequence[int]) -> None:
        """Drop all rows but these; they are numbered anew, in this order."""
        index = torch.tensor(rows, dtype=torch.int64, device=self._rows.device)
        for layer in self._ragged:
            layer.keep(index)
        self._rows.lengths = [self._rows.lengths[row] for row in rows]


def empty_cache(config: Any) -> DynamicCache | None:
    """A cache that keeps every token, also in sliding-window layers; None for models with other states.

    A sliding-window layer's own cache forgets tokens; attention masks the same ones out of a full cache.
    """
    kinds = {type(layer) for layer in DynamicCache(config=config).layers}
    return DynamicCache() if kinds <= {DynamicLayer, DynamicSlidingWindowLayer} else None
