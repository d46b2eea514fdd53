"""Find out with a few tokens whether a model's answers can share the history that they continue from."""

import torch
from torch import nn
from transformers import DynamicCache

from trainer.generation.branched_attention import may_branch
from trainer.generation.branched_cache import BranchedCache
from trainer.generation.kv_cache import CachePrefix, empty_cache, is_filled
from trainer.generation.passes import run_branches, run_tokens
from trainer.generation.recurrent_probe import nearly_equal

_TOKENS = tuple(range(1, 9))
_STARTS = (3, 6)


@torch.no_grad()
def can_branch(model: nn.Module) -> bool:
    """Whether two answers that share a history get the same logits as each one alone."""
    history = empty_cache(model.config)
    if history is None or not may_branch(model):
        return False
    run_tokens(model, _TOKENS, history)
    if not is_filled(history):
        return False
    rows = [_TOKENS[start : start + 2] for start in _STARTS]
    try:
        found = _together(model, history, rows)
    except (RuntimeError, IndexError, AttributeError):  # attention that passes other things than keys and a layer
        return False
    alone = [run_tokens(model, _TOKENS[: start + 2], DynamicCache()) for start in _STARTS]
    return all(nearly_equal(logits[-1], expected, model) for logits, expected in zip(found, alone, strict=True))


def _together(model: nn.Module, history: DynamicCache, rows: list[tuple[int, ...]]) -> list[torch.Tensor]:
    """The logits of the last token of each row, after a pass for each token."""
    cache = BranchedCache(history, n_rows=len(rows), capacity=len(rows[0]))
    for row, start in enumerate(_STARTS):
        cache.load(row, CachePrefix(history, start))
    for column in range(len(rows[0])):
        logits = run_branches(model, [row[column : column + 1] for row in rows], cache, n_positions=len(_TOKENS))
        cache.advance([1] * len(rows))
    return logits
