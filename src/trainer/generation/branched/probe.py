"""Find out with a few tokens whether a model's answers can share the history that they continue from."""

from typing import Any

import torch

from trainer.generation.branched.attention import may_branch
from trainer.generation.branched.cache import BranchedCache
from trainer.generation.kv_cache import CachePrefix, empty_cache, is_filled
from trainer.generation.passes import run_branches
from trainer.generation.recurrent_probe import nearly_equal

_TOKENS = tuple(range(1, 9))
_STARTS = (3, 6)
_N_NEW = 2


@torch.no_grad()
def can_branch(model: Any) -> bool:
    """Whether two answers that share a history get the same logits as in one pass over the history."""
    history = empty_cache(model.config)
    if history is None or not may_branch(model):
        return False
    ids = torch.tensor([_TOKENS], device=next(model.parameters()).device)
    expected = model(input_ids=ids, past_key_values=history, use_cache=True).logits[0]
    if not is_filled(history):
        return False
    cache = BranchedCache(history, n_rows=len(_STARTS), capacity=_N_NEW)
    for row, start in enumerate(_STARTS):
        cache.load(row, CachePrefix(history, start))
    new = [_TOKENS[start : start + _N_NEW] for start in _STARTS]
    try:
        found = run_branches(model, new, cache, n_positions=len(_TOKENS))
    except (RuntimeError, IndexError, AttributeError):  # attention that passes other things than keys and a layer
        return False
    ends = [start + _N_NEW - 1 for start in _STARTS]
    return all(nearly_equal(logits[-1], expected[end], model) for logits, end in zip(found, ends, strict=True))
