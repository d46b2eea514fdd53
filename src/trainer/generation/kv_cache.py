"""Caches that start from a finished pass and then grow in place."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from transformers import DynamicCache
from transformers.cache_utils import (
    CacheLayerMixin,
    DynamicLayer,
    DynamicSlidingWindowLayer,
    LinearAttentionAndFullAttentionLayer,
    LinearAttentionAndSlidingWindowAttentionLayer,
    LinearAttentionLayer,
)

from trainer.generation.recurrent_states import LayerStates, StateRows, n_state_bytes

_ATTENTION = {DynamicLayer, DynamicSlidingWindowLayer}
_SLIDING = {DynamicSlidingWindowLayer, LinearAttentionAndSlidingWindowAttentionLayer}
_RECURRENT = {
    LinearAttentionLayer,
    LinearAttentionAndFullAttentionLayer,
    LinearAttentionAndSlidingWindowAttentionLayer,
}


class CachePrefix(NamedTuple):
    """The first `length` tokens of row 0 of a cache. `states` are those of recurrent layers after these tokens."""

    cache: DynamicCache
    length: int
    states: tuple[LayerStates, ...] = ()

    @property
    def n_state_tokens(self) -> int:
        """How many tokens would take the memory of the states if every layer had keys and values."""
        if not self.states:
            return 0
        layers: Any = self.cache.layers
        keys: torch.Tensor = next(layer.keys for layer in layers if _has_keys(layer))
        return n_state_bytes(self.states) // (2 * keys[0, :, 0].nbytes * len(layers))


class GrownLayer(DynamicLayer):
    """A cache layer that continues a `stem`, which many caches share. Its `keys` and `values` are those after it."""

    keys: Any  # [1, heads, tokens after the stem, size]
    values: Any

    def __init__(self, stem: Any) -> None:
        DynamicLayer.__init__(self)
        self.stem = stem
        self.keys, self.values = stem.keys[:, :, :0], stem.values[:, :, :0]
        self.dtype, self.device = stem.dtype, stem.device
        self.is_initialized = True

    def update(
        self, key_states: torch.Tensor, value_states: torch.Tensor, *args: Any, **kwargs: Any
    ) -> tuple[torch.Tensor, torch.Tensor]:
        self.keys = torch.cat([self.keys, key_states], dim=2)
        self.values = torch.cat([self.values, value_states], dim=2)
        return torch.cat([self.stem.keys, self.keys], dim=2), torch.cat([self.stem.values, self.values], dim=2)

    def get_seq_length(self) -> int:
        return int(self.stem.keys.shape[2] + self.keys.shape[2])


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
        DynamicLayer.__init__(self)
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


class _RaggedHybridLayer(StateRows, _RaggedLayer):  # type: ignore[misc, override]  # like transformers' own
    """A cache layer with keys and values, and also with states."""

    def __init__(self, like: Any, lengths: RowLengths, capacity: int) -> None:
        _RaggedLayer.__init__(self, like, lengths, capacity)
        StateRows.__init__(self, like, len(lengths.values))


class RaggedCache(DynamicCache):
    """Rows of different lengths without padding: a row's token at position p is at index p of its buffer.

    Entries after a row's length are invalid: a pass writes its new tokens there, and `advance` sets how many of them
    to keep. A cache with states (`has_states`) must keep all of them, since a state cannot be taken back. Only `load`,
    `advance` and `keep` change rows. Attention also needs the lengths (`trainer.generation.ragged_attention`), except
    with a single row.
    """

    def __init__(self, like: DynamicCache, *, n_rows: int, capacity: int) -> None:
        super().__init__()
        samples: Any = like.layers
        self.lengths = RowLengths(n_rows, next(layer.keys.device for layer in samples if _has_keys(layer)))
        self.has_states = any(isinstance(layer, LinearAttentionLayer) for layer in samples)
        self._rows: list[_RaggedLayer | StateRows] = []
        for sample in samples:
            if not isinstance(sample, LinearAttentionLayer):
                self._rows.append(_RaggedLayer(sample, self.lengths, capacity))
            elif _has_keys(sample):
                self._rows.append(_RaggedHybridLayer(sample, self.lengths, capacity))
            else:
                self._rows.append(StateRows(sample, n_rows))
        self.layers.extend(self._rows)

    @property
    def n_rows(self) -> int:
        """The number of rows."""
        return len(self.lengths.values)

    def load(self, row: int, prefix: CachePrefix) -> None:
        """Replace the content of a row with a prefix."""
        sources: Any = prefix.cache.layers
        for index, (layer, source) in enumerate(zip(self._rows, sources, strict=True)):
            if isinstance(layer, _RaggedLayer):
                for buffer, known in zip((layer.keys, layer.values), _whole(source), strict=True):
                    buffer[row, :, : prefix.length] = known[0, :, : prefix.length]
            if isinstance(layer, StateRows):
                layer.load_states(row, prefix.states[index])
        self.lengths.set_length(row, prefix.length)

    def advance(self, n_tokens: Sequence[int]) -> None:
        """Keep this many of the tokens that the last pass wrote to each row."""
        self.lengths.add(n_tokens)

    def keep(self, rows: Sequence[int]) -> None:
        """Drop all rows except these, which are renumbered in this order."""
        for layer in self._rows:
            if isinstance(layer, _RaggedLayer):
                layer.keys, layer.values = layer.keys[list(rows)], layer.values[list(rows)]
            if isinstance(layer, StateRows):
                layer.keep_states(rows)
        self.lengths.keep(rows)


def empty_cache(config: Any) -> DynamicCache | None:
    """A cache that keeps every token, also in sliding-window layers; None for models with other kinds of state.

    A sliding-window layer's own cache drops tokens. In a full cache, attention masks the same tokens.
    """
    return DynamicCache() if _kinds(config) <= _ATTENTION else None


def empty_recurrent_cache(config: Any) -> DynamicCache:
    """A cache with the states of recurrent layers that keeps every token, also in sliding-window layers."""
    cache = DynamicCache(config=config)
    for index, layer in enumerate(cache.layers):
        if isinstance(layer, LinearAttentionAndSlidingWindowAttentionLayer):
            cache.layers[index] = LinearAttentionAndFullAttentionLayer(layer.number_of_states)
        elif isinstance(layer, DynamicSlidingWindowLayer):
            cache.layers[index] = DynamicLayer()
    return cache


def is_known_recurrent(cache: Any) -> bool:
    """Whether a model's own cache holds attention and recurrent states only, in layers that `RaggedCache` knows."""
    layers: list[Any] = cache.layers if type(cache) is DynamicCache else []
    return {type(layer) for layer in layers} <= _ATTENTION | _RECURRENT and any(map(_has_keys, layers))


def is_filled(cache: DynamicCache) -> bool:
    """Whether every layer holds keys and values after a pass. Some models keep states elsewhere and leave gaps."""
    return all(map(_has_keys, cache.layers))


def has_sliding_windows(config: Any) -> bool:
    """Whether some layers of a model see only the last tokens."""
    return bool(_kinds(config) & _SLIDING)


def stem_of(cache: DynamicCache) -> list[Any]:
    """Return the layers of the stem that a cache continues; none if it has no stem."""
    return [layer.stem for layer in cache.layers if isinstance(layer, GrownLayer)]


def _whole(layer: Any) -> tuple[torch.Tensor, torch.Tensor]:
    """Return all keys and values of a layer."""
    if isinstance(layer, GrownLayer):
        return torch.cat([layer.stem.keys, layer.keys], dim=2), torch.cat([layer.stem.values, layer.values], dim=2)
    return layer.keys, layer.values


def _kinds(config: Any) -> set[type]:
    return {type(layer) for layer in DynamicCache(config=config).layers}


def _has_keys(layer: Any) -> bool:
    return isinstance(layer, CacheLayerMixin) and layer.is_initialized
