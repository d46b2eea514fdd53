"""Find out with a few tokens what the code of a model with recurrent layers can do."""

import copy
import math
from typing import Any, NamedTuple

import torch
from torch import nn

from trainer.generation.kv_cache import CachePrefix, RaggedCache, empty_recurrent_cache, is_known_recurrent
from trainer.generation.passes import run_rows, run_tokens
from trainer.generation.ragged_attention import supports_ragged_attention, supports_row_mask
from trainer.generation.recurrent_states import copy_states

_TOKENS = tuple(range(1, 9))
_N_SHORT = 5


class Abilities(NamedTuple):
    """What a model can do.

    `holds_states`: it keeps its states in cache layers that are known; if not, the others are false.
    `continues`: several tokens at once continue from an earlier state. Some models ignore it then.
    `batches`: rows that end at different positions can be continued in one batch.
    """

    holds_states: bool = False
    continues: bool = False
    batches: bool = False


def probe(model: nn.Module) -> Abilities:
    """Try all abilities on made-up tokens. They depend on the model only."""
    any_model: Any = model
    ids = torch.tensor([_TOKENS], device=next(model.parameters()).device)
    own: Any = getattr(any_model(input_ids=ids, use_cache=True), "past_key_values", None)
    if not is_known_recurrent(own) or not copy_states(own):
        return Abilities()
    return Abilities(holds_states=True, continues=_continues(model), batches=_batches(model))


def nearly_equal(logits: torch.Tensor, expected: torch.Tensor, model: nn.Module) -> bool:
    """Whether logits [vocabulary] of the same tokens differ by rounding only: half of their digits are equal."""
    dtypes = {expected.dtype, *(weight.dtype for weight in model.parameters() if weight.is_floating_point())}
    epsilon = max(torch.finfo(dtype).eps for dtype in dtypes)
    wide = expected.float()
    return bool((logits.float() - wide).norm() <= math.sqrt(epsilon) * (wide - wide.mean()).norm())


def _filled(model: nn.Module, n_tokens: int) -> CachePrefix:
    cache = empty_recurrent_cache(model.config)
    run_tokens(model, _TOKENS[:n_tokens], cache)
    return CachePrefix(cache, n_tokens, copy_states(cache))


def _continues(model: nn.Module) -> bool:
    """Whether what follows several tokens depends on the recurrent states before them."""
    remembering = _filled(model, len(_TOKENS)).cache
    forgetful = copy.deepcopy(remembering)
    states = [state for layer in forgetful.layers for state in getattr(layer, "recurrent_states", {}).values()]
    known = [state.zero_() for state in states if state is not None]
    # Convolutions continue from the cache in every case.
    ends = [run_tokens(model, _TOKENS[:2], cache) for cache in (remembering, forgetful)]
    return not known or not torch.equal(*ends)


def _batches(model: nn.Module) -> bool:
    """Whether two rows get the same logits together as each one alone."""
    if not supports_ragged_attention(model) and not supports_row_mask(model):
        return False
    short, long = _filled(model, _N_SHORT), _filled(model, len(_TOKENS))
    rows = RaggedCache(long.cache, n_rows=2, capacity=len(_TOKENS) + 1)
    for row, prefix in ((0, long), (0, short), (1, long)):  # keys of the longer one stay after the end of the shorter
        rows.load(row, prefix)
    token = _TOKENS[:1]
    try:
        together = run_rows(model, [token, token], rows, n_positions=len(_TOKENS) + 1)
    except (RuntimeError, IndexError):  # code that mixes up rows often ends in tensors of the wrong shape
        return False
    alone = [run_tokens(model, token, prefix.cache) for prefix in (short, long)]
    return together.shape[:2] == (2, 1) and all(
        nearly_equal(logits[0], expected, model) for logits, expected in zip(together, alone, strict=True)
    )
