"""Run tokens through a model with a cache, and return logits."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import nn
from transformers import DynamicCache

from trainer.generation.branched.attention import branched_attention
from trainer.generation.branched.cache import BranchedCache
from trainer.generation.kv_cache import RaggedCache
from trainer.generation.ragged_attention import ragged_attention, row_mask
from trainer.kernels.blocked_attention import attend_in_blocks
from trainer.lora_model import takes_logits_to_keep


def run_tokens(model: Any, token_ids: Sequence[int], cache: DynamicCache) -> torch.Tensor:
    """Run tokens that continue a cache of one row, and return the logits [vocabulary] after the last one."""
    ids = torch.tensor([list(token_ids)], device=next(model.parameters()).device)
    # Some models count positions from 0 if they are not given, also after earlier tokens.
    positions = torch.arange(ids.shape[1], device=ids.device)[None] + cache.get_seq_length()
    last = {"logits_to_keep": 1} if takes_logits_to_keep(model) else {}
    with attend_in_blocks(model):
        output = model(input_ids=ids, position_ids=positions, past_key_values=cache, use_cache=True, **last)
    logits = output.logits[0, -1]
    assert isinstance(logits, torch.Tensor)
    return logits


def run_rows(
    model: nn.Module, token_ids: Sequence[Sequence[int]], cache: RaggedCache, *, n_positions: int
) -> torch.Tensor:
    """Run the next tokens of each row, padded to the longest, and return their logits [rows, new, vocabulary].

    `n_positions` is the most that the model has. Call `advance` of the cache afterwards.
    """
    n_new = max(map(len, token_ids))
    positions = cache.lengths.next_positions(n_new)
    mask = row_mask(model, cache)
    with ragged_attention(model, cache):
        logits = model(
            input_ids=torch.tensor([[*row, *[0] * (n_new - len(row))] for row in token_ids], device=positions.device),
            position_ids=positions.clamp(max=n_positions - 1),  # padding may exceed the last position
            past_key_values=cache,
            use_cache=True,
            **({} if mask is None else {"attention_mask": mask}),
        ).logits
    assert isinstance(logits, torch.Tensor)
    return logits


def run_branches(
    model: nn.Module, token_ids: Sequence[Sequence[int]], cache: BranchedCache, *, n_positions: int
) -> list[torch.Tensor]:
    """Run the next tokens of each row, if any, and return the logits of each row [new, vocabulary].

    `n_positions` is the most that the model has. Call `advance` of the cache afterwards.
    """
    step = cache.begin([len(row) for row in token_ids])
    ids = torch.tensor([[token for row in step.order for token in token_ids[row]]], device=step.rows.device)
    with branched_attention(model, cache):
        logits = model(
            input_ids=ids,
            position_ids=step.positions.clamp(max=n_positions - 1)[None],
            past_key_values=cache,
            use_cache=True,
        ).logits[0]
    of_row = dict(zip(step.order, logits.split(step.n_new), strict=True))
    return [of_row.get(row, logits[:0]) for row in range(len(token_ids))]
