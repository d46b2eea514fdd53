"""States of recurrent layers (linear attention, Mamba, convolutions): copies of them, and rows of them in a batch.

A state has a fixed size and summarizes all earlier tokens, so unlike keys and values it cannot be cropped to fewer.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from transformers import DynamicCache
from transformers.cache_utils import LinearAttentionLayer

_KINDS = ("conv_states", "recurrent_states")


class LayerStates(NamedTuple):
    """The states of one layer by their index in the layer, each [1, …]; both empty for a layer without states."""

    conv: dict[int, torch.Tensor]
    recurrent: dict[int, torch.Tensor]


def copy_states(cache: DynamicCache) -> tuple[LayerStates, ...]:
    """A copy of the states of every layer, which later passes leave as it is; empty if no layer has a state."""
    copies = tuple(LayerStates(*(_copies(layer, kind) for kind in _KINDS)) for layer in cache.layers)
    return copies if any(states.conv or states.recurrent for states in copies) else ()


def n_state_bytes(states: Sequence[LayerStates]) -> int:
    """The memory of the states of all layers, in bytes."""
    return sum(tensor.nbytes for layer in states for kind in layer for tensor in kind.values())


def _copies(layer: Any, kind: str) -> dict[int, torch.Tensor]:
    found = getattr(layer, kind, {})
    return {index: tensor.clone() for index, tensor in found.items() if tensor is not None}


class StateRows(LinearAttentionLayer):
    """A cache layer with one state per row of a batch. It continues states, and starts none."""

    def __init__(self, like: Any, n_rows: int) -> None:
        LinearAttentionLayer.__init__(self, number_of_states=like.number_of_states)
        for kind in _KINDS:
            for index, sample in getattr(like, kind).items():
                if sample is not None:
                    getattr(self, kind)[index] = sample.new_zeros(n_rows, *sample.shape[1:])
                    getattr(self, f"is_{kind}_initialized")[index] = True
        self.has_previous_state = dict(like.has_previous_state)
        self.conv_kernel_size = dict(like.conv_kernel_size)
        self.dtype, self.device = like.dtype, like.device

    def load_states(self, row: int, states: LayerStates) -> None:
        """Replace the states of a row."""
        for kind, new in zip(_KINDS, states, strict=True):
            for index, tensor in new.items():
                getattr(self, kind)[index][row] = tensor[0]

    def keep_states(self, rows: Sequence[int]) -> None:
        """Drop the states of all rows except these."""
        for own in (self.conv_states, self.recurrent_states):
            own.update({index: tensor[list(rows)] for index, tensor in own.items() if tensor is not None})
