"""Find the caches from which answers continue, for models with recurrent layers.

The state of a recurrent layer cannot be cropped to the token where an answer departs from gold. A walk runs the tokens
of a session once more, from one point of departure to the next, and copies the states at each. Keys and values of all
points are in the one cache of the walk. If a model ignores the earlier state when several tokens follow it at once,
the cache of each point is filled from the first token on, in one pass.
"""

import logging
from collections.abc import Sequence
from functools import cache, cached_property
from typing import Any, Literal, NamedTuple

import torch
from torch import nn

from trainer.generation.branched.probe import can_branch
from trainer.generation.kv_cache import CachePrefix, empty_recurrent_cache
from trainer.generation.passes import run_tokens
from trainer.generation.recurrent_probe import Abilities, nearly_equal, probe
from trainer.generation.recurrent_states import copy_states

logger = logging.getLogger(__name__)


class Departure(NamedTuple):
    """A point where an answer departs from gold: the first `length` tokens, and the logits after them [vocabulary]."""

    length: int
    logits: torch.Tensor


class Prefill(NamedTuple):
    """Tokens that are still to be run through the model to get a `CachePrefix`."""

    input_ids: tuple[int, ...]

    @property
    def length(self) -> int:
        """The number of tokens."""
        return len(self.input_ids)


def prefill(model: nn.Module, tokens: Prefill) -> CachePrefix:
    """Run the tokens in one pass."""
    cache = empty_recurrent_cache(model.config)
    run_tokens(model, tokens.input_ids, cache)
    return CachePrefix(cache, tokens.length, copy_states(cache))


class Walker:
    """Walks sessions of one model. What the model can do is found out before the first walk."""

    def __init__(self, model: nn.Module) -> None:
        self._model = model
        self._config: Any = model.config

    @cached_property
    def abilities(self) -> Abilities:
        """What the model can do."""
        found = probe(self._model)
        if not found.batches:
            _report_slow(self._config.model_type, "batches" if found.holds_states else "states")
        return found

    @property
    def batches_states(self) -> bool:
        """Whether answers can share a batch; false before the first walk."""
        return "abilities" in vars(self) and self.abilities.batches

    @cached_property
    def branches(self) -> bool:
        """Whether answers can share the history that they continue from."""
        return can_branch(self._model)

    def prefixes(self, input_ids: Sequence[int], departures: Sequence[Departure]) -> list[CachePrefix | Prefill | None]:
        """What each departure continues from; None if the model's states are unknown.

        It is a `Prefill` from the first departure on to which the walk does not lead: the logits there differ from the
        expected ones by more than rounding.
        """
        if not departures:
            return []
        if not self.abilities.holds_states:
            return [None] * len(departures)
        walked = empty_recurrent_cache(self._config)
        found: dict[int, CachePrefix] = {}
        n_run = 0
        for point in sorted(departures, key=lambda point: point.length):
            if point.length > n_run:
                if n_run and not self.abilities.continues:
                    break
                logits = run_tokens(self._model, input_ids[n_run : point.length], walked)
                n_run = point.length
                if not nearly_equal(logits, point.logits, self._model):
                    break
                found[n_run] = CachePrefix(walked, n_run, copy_states(walked))
        return [found.get(point.length) or Prefill(tuple(input_ids[: point.length])) for point in departures]


@cache
def _report_slow(model_type: str, lacks: Literal["batches", "states"]) -> None:
    reason = "keeps states that cannot be copied" if lacks == "states" else "cannot continue rows of different lengths"
    logger.warning("%s %s; its answers are decoded one at a time, which is slower", model_type, reason)
