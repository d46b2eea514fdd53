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


class _GrowingLayer(DynamicLayer):
    """A layer that writes new tokens into a buffer laid out beforehand, where DynamicLayer copies everything."""

    def __init__(self, keys: torch.Tensor, values: torch.Tensor, *, length: int) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._buffers = (keys, values)  # each [rows, heads, capacity, size]
        self._show(length)
        self.dtype, self.device = keys.dtype, keys.device
        self.is_initialized = True

    def update(
        self, key_states: torch.Tensor, value_states: torch.Tensor, *args: Any, **kwargs: Any
    ) -> tuple[torch.Tensor, torch.Tensor]:
        start = self._length
        end = start + key_states.shape[-2]
        for buffer, new in zip(self._buffers, (key_states, value_states), strict=True):
            buffer[:, :, start:end] = new
        return self._show(end)

    def batch_select_indices(self, indices: torch.Tensor) -> None:
        self._buffers = (self._buffers[0][indices], self._buffers[1][indices])
        self._show(self._length)

    def _show(self, length: int) -> tuple[torch.Tensor, torch.Tensor]:
        self._length = length
        keys, values = (buffer[:, :, :length] for buffer in self._buffers)
        self.keys, self.values = keys, values
        return keys, values


def empty_cache(config: Any) -> DynamicCache | None:
    """A cache that keeps every token, also in sliding-window layers; None for models with other states.

    A sliding-window layer's own cache forgets tokens; attention masks the same ones out of a full cache.
    """
    kinds = {type(layer) for layer in DynamicCache(config=config).layers}
    return DynamicCache() if kinds <= {DynamicLayer, DynamicSlidingWindowLayer} else None


def gather_prefixes(prefixes: Sequence[CachePrefix], *, n_new_tokens: int) -> DynamicCache:
    """One batch from several prefixes, padded on the left, with room for `n_new_tokens` more each.

    Padding on the left keeps the distances between a row's tokens, which sliding windows count.
    """
    width = max(prefix.length for prefix in prefixes)
    batch = DynamicCache()
    for layer in range(len(prefixes[0].cache.layers)):
        first = prefixes[0].cache.layers[layer]
        buffers = []
        for name in ("keys", "values"):
            sample = getattr(first, name)
            _, heads, _, size = sample.shape
            buffer = sample.new_zeros(len(prefixes), heads, width + n_new_tokens, size)
            for row, prefix in enumerate(prefixes):
                source = getattr(prefix.cache.layers[layer], name)
                buffer[row, :, width - prefix.length : width] = source[0, :, : prefix.length]
            buffers.append(buffer)
        batch.layers.append(_GrowingLayer(buffers[0], buffers[1], length=width))
    return batch
