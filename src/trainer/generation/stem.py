"""The tokens that all prompts of an evaluation begin with: computed once, not once per session."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import nn
from transformers import DynamicCache

from trainer.generation.kv_cache import GrownLayer, empty_cache, is_filled
from trainer.generation.shared_prefixes import n_shared
from trainer.kernels.blocked_attention import attend_in_blocks
from trainer.lora_model import no_gradients, takes_logits_to_keep
from trainer.types import ToolEvalExample

_FEWEST_TOKENS = 64  # a shorter stem is not worth a pass of its own


class Stem(NamedTuple):
    """The first `n_tokens` of every prompt, and their keys and values, which are never changed."""

    n_tokens: int
    cache: DynamicCache

    def new_cache(self) -> DynamicCache:
        """Return a cache that begins with the stem and grows without changing it."""
        grown = DynamicCache()
        grown.layers.extend(map(GrownLayer, self.cache.layers))
        return grown


def stem_length(model: nn.Module, examples: Sequence[ToolEvalExample]) -> int:
    """Return how many tokens the stem of the examples' prompts has.

    0 if it is short, if all turns are of one session, which shares more, if the model keeps other states than keys and
    values of every token, or if it turns keys by angles that depend on the length of a pass.
    """
    length = _n_in_common([example.prompt_ids for example in examples])
    is_cached = empty_cache(model.config) is not None and not _turns_by_length(model.config)
    n_sessions = len({example.session_id for example in examples})
    return length if length >= _FEWEST_TOKENS and is_cached and n_sessions > 1 else 0


def find_stem(model: nn.Module, examples: Sequence[ToolEvalExample]) -> Stem | None:
    """Return the stem of the examples' prompts; None if they have none, or if the model does not fill its cache.

    The stem depends on all examples, so every process must pass the same ones.
    """
    length, cache = stem_length(model, examples), empty_cache(model.config)
    if not length or cache is None:
        return None
    ids = torch.tensor([examples[0].prompt_ids[:length]], device=next(model.parameters()).device)
    options: dict[str, Any] = {"logits_to_keep": 1} if takes_logits_to_keep(model) else {}
    model.eval()
    with no_gradients(model), attend_in_blocks(model):
        model(input_ids=ids, past_key_values=cache, use_cache=True, **options)
    return Stem(length, cache) if is_filled(cache) else None


def _turns_by_length(config: Any) -> bool:
    """Whether rotary positions change with the length of the sequence, so short passes have other keys."""
    text = config.get_text_config()
    parameters = getattr(text, "rope_parameters", None) or getattr(text, "rope_scaling", None) or {}
    kinds = [parameters, *(value for value in parameters.values() if isinstance(value, dict))]
    names = {str(kind.get("rope_type", kind.get("type", ""))) for kind in kinds}
    return any(name == "longrope" or "dynamic" in name for name in names)


def _n_in_common(prompts: Sequence[tuple[int, ...]]) -> int:
    """The number of tokens that all prompts begin with. One token of each prompt stays, since it predicts an answer."""
    if not prompts:
        return 0
    common = min(prompts, key=len)[:-1]
    for prompt in prompts:
        if prompt[: len(common)] != common:
            common = common[: n_shared(prompt, common)]
    return len(common)
