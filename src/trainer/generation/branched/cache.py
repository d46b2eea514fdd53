"""A cache of answers that continue from histories which they share, instead of copies of them.

The turns of a session are judged on beginnings of the same history, so its keys and values are in memory once. Each
answer, a row, has its own buffer for its new tokens only. The new tokens of all rows are one sequence, without padding.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any, NamedTuple

import torch
from transformers import DynamicCache
from transformers.cache_utils import DynamicLayer

from trainer.generation.kv_cache import CachePrefix, RowLengths, stem_of


class Part(NamedTuple):
    """The tokens of a step whose rows continue from one history, of which they see at most `n_shared` tokens.

    `hidden`, bool [tokens, n_shared], says which of them a token does not see, if no window hides more; None if all
    tokens see all of them. Only what follows the stem counts, if there is one.
    """

    history: DynamicCache
    tokens: slice
    n_shared: int
    hidden: torch.Tensor | None


@dataclass(frozen=True, slots=True)
class Step:
    """The new tokens of a pass: of all rows in `order`, one after the other. Each tensor is int64 [tokens].

    `rows`: the row of each token. `nth`: its index among the new tokens of its row. `starts`: the number of tokens that
    its row shares with the history. `slots`: its index in the buffer of its row. `n_slots`: how many may be in use.
    `stem`: the layers of what all histories begin with, which every token sees, and which is `n_stem` tokens long.
    """

    order: list[int]
    n_new: list[int]
    parts: list[Part]
    rows: torch.Tensor
    nth: torch.Tensor
    starts: torch.Tensor
    slots: torch.Tensor
    n_slots: int
    stem: list[Any]
    n_stem: int

    @property
    def n_shared(self) -> int:
        """The most tokens that a row shares with its history."""
        return self.n_stem + max(part.n_shared for part in self.parts)

    @property
    def positions(self) -> torch.Tensor:
        """The position of each token in its session, int64 [tokens]."""
        return self.starts + self.slots


class _Rows:
    """What each row continues from, how long it is, and the step that is being made."""

    def __init__(self, n_rows: int, device: torch.device) -> None:
        self.lengths = RowLengths(n_rows, device)
        self.prefixes: list[CachePrefix | None] = [None] * n_rows
        self.step: Step | None = None
        self._device = device

    def begin(self, n_new: Sequence[int]) -> Step:
        """Set the step to one over this many new tokens of each row."""
        prefixes = {row: prefix for row, prefix in enumerate(self.prefixes) if prefix is not None and n_new[row]}
        histories = {id(prefix.cache): n for n, prefix in enumerate(prefixes.values())}
        order = sorted(prefixes, key=lambda row: (histories[id(prefixes[row].cache)], -prefixes[row].length))
        stem = stem_of(prefixes[order[0]].cache)
        n_stem = stem[0].keys.shape[2] if stem else 0
        parts: list[Part] = []
        places: list[tuple[int, int, int, int]] = []
        for _, group in groupby(order, key=lambda row: id(prefixes[row].cache)):
            members, first = list(group), len(places)
            for row in members:
                start = prefixes[row].length
                n_own = self.lengths.values[row] - start
                places += [(row, nth, start, n_own + nth) for nth in range(n_new[row])]
            n_seen = [start - n_stem for _, _, start, _ in places[first:]]
            part = Part(prefixes[members[0]].cache, slice(first, len(places)), n_seen[0], self._hidden(n_seen))
            parts.append(part)
        rows, nth, starts, slots = torch.tensor(places, device=self._device).T.contiguous()
        n_slots = 1 + max(slot for _, _, _, slot in places)
        of_rows = [n_new[row] for row in order]
        self.step = Step(order, of_rows, parts, rows, nth, starts, slots, n_slots, stem, n_stem)
        return self.step

    def _hidden(self, n_seen: Sequence[int]) -> torch.Tensor | None:
        """What tokens that see so many keys do not see of those of the first one, which sees the most."""
        if n_seen[0] == n_seen[-1]:
            return None
        keys = torch.arange(n_seen[0], device=self._device)
        return keys >= torch.tensor(n_seen, device=self._device)[:, None]


class BranchedCache(DynamicCache):
    """Rows that continue from beginnings of histories. Only `load`, `advance` and `keep` change rows.

    All histories continue the same stem, or none does. Call `begin` before each pass. The model must attend with
    `trainer.generation.branched.attention`.
    """

    has_states = False

    def __init__(self, like: DynamicCache, *, n_rows: int, capacity: int) -> None:
        super().__init__()
        samples: Any = like.layers
        self._rows = _Rows(n_rows, samples[0].keys.device)
        self._own = [_OwnTokens(self._rows, sample, capacity) for sample in samples]
        self.layers.extend(self._own)

    @property
    def step(self) -> Step:
        """The step that is being made."""
        assert self._rows.step is not None
        return self._rows.step

    @property
    def n_rows(self) -> int:
        """The number of rows."""
        return len(self._rows.prefixes)

    def load(self, row: int, prefix: CachePrefix) -> None:
        """Let a row continue from a prefix, with no tokens of its own."""
        self._rows.prefixes[row] = prefix
        self._rows.lengths.set_length(row, prefix.length)

    def begin(self, n_new: Sequence[int]) -> Step:
        """Prepare a pass over this many new tokens of each row, at least one in all."""
        return self._rows.begin(n_new)

    def advance(self, n_tokens: Sequence[int]) -> None:
        """Keep this many of the tokens that the last pass wrote to each row."""
        self._rows.lengths.add(n_tokens)

    def keep(self, rows: Sequence[int]) -> None:
        """Drop all rows except these, which are renumbered in this order."""
        for layer in self._own:
            layer.keys, layer.values = layer.keys[list(rows)], layer.values[list(rows)]
        self._rows.prefixes = [self._rows.prefixes[row] for row in rows]
        self._rows.lengths.keep(rows)


class _OwnTokens(DynamicLayer):
    """The keys and values that rows do not share, of one layer."""

    keys: Any  # [rows, heads, capacity, size]
    values: Any

    def __init__(self, rows: _Rows, like: Any, capacity: int) -> None:
        DynamicLayer.__init__(self)
        self.keys, self.values = (
            sample.new_zeros(len(rows.prefixes), sample.shape[1], capacity, sample.shape[3])
            for sample in (like.keys, like.values)
        )
        self.dtype, self.device = like.keys.dtype, like.keys.device
        self.is_initialized = True
        self._rows = rows

    def update(
        self, key_states: torch.Tensor, value_states: torch.Tensor, *args: Any, **kwargs: Any
    ) -> tuple[torch.Tensor, torch.Tensor]:
        step = self._rows.step
        assert step is not None
        for buffer, new in ((self.keys, key_states), (self.values, value_states)):
            # Under autocast, values can be in bfloat16 although the cache that this one is like has float32.
            buffer[step.rows, :, step.slots] = new[0].transpose(0, 1).to(buffer.dtype)
        return self.keys[:, :, : step.n_slots], self.values[:, :, : step.n_slots]

    def get_seq_length(self) -> int:
        return max(self._rows.lengths.values)
