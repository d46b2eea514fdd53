"""Answer one prompt at a time with a base model or its adapter, and keep the caches of earlier prompts.

The next prompt of a conversation begins with the previous one, so only its new tokens have to be run. Works on tokens;
`service` handles messages and `server` handles HTTP.
"""

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
from peft import PeftModel
from transformers import DynamicCache, PreTrainedModel

from trainer.generation.kv_cache import CachePrefix, RaggedCache, empty_cache
from trainer.generation.ragged_attention import ragged_attention
from trainer.generation.settings import DecodeSettings
from trainer.generation.shared_prefixes import n_shared
from trainer.generation.speculative import PartialAnswer, generate_answer
from trainer.kernels.precision import evaluation_precision
from trainer.lora_model import adapter_off

_N_KEPT = 8
_SHORTEST_SHARED = 16  # copying a cache costs more than running fewer tokens than this again

OnToken = Callable[[Sequence[int]], None]


@dataclass(frozen=True, slots=True)
class Generated:
    """An answer. `token_ids` excludes the stop token. `n_cached` counts the prompt tokens that were not run again."""

    token_ids: tuple[int, ...]
    finish_reason: Literal["stop", "length"]
    n_cached: int


@dataclass(frozen=True, slots=True)
class _Kept:
    """A cache with the tokens in it. `adapted`: the adapter was on."""

    adapted: bool
    token_ids: tuple[int, ...]
    cache: DynamicCache


class LocalEngine:
    """A model with or without an adapter. Several threads may call it; it answers one at a time."""

    def __init__(self, model: PreTrainedModel | PeftModel) -> None:
        self._model = model.eval()
        self._lock = threading.Lock()
        self._kept: list[_Kept] = []  # the last one is the most recently used

    def generate(
        self,
        prompt_ids: Sequence[int],
        settings: DecodeSettings,
        *,
        adapted: bool,
        on_token: OnToken = lambda token_ids: None,
    ) -> Generated:
        """Decode one answer, greedily if the temperature is 0. `on_token` receives the answer so far."""
        answer = PartialAnswer(settings, name="request")
        off = isinstance(self._model, PeftModel) and not adapted
        precision = evaluation_precision(self._model)
        with self._lock, torch.inference_mode(), adapter_off(self._model, off=off), precision:
            if empty_cache(self._model.config) is None:
                generate_answer(self._model, prompt_ids, answer, settings)
                n_cached = 0
            else:
                n_cached = self._decode(tuple(prompt_ids), answer, settings, adapted, on_token)
        assert answer.finish_reason is not None
        return Generated(tuple(answer.token_ids), answer.finish_reason, n_cached)

    def _decode(
        self,
        prompt_ids: tuple[int, ...],
        answer: PartialAnswer,
        settings: DecodeSettings,
        adapted: bool,
        on_token: OnToken,
    ) -> int:
        kept, n_cached = self._nearest(prompt_ids, adapted)
        if kept is not None:
            prefix = CachePrefix(kept.cache, n_cached)
        else:
            prefix = CachePrefix(DynamicCache(), len(prompt_ids))
            logits = self._run(prompt_ids, prefix.cache)
        cache = RaggedCache(prefix.cache, n_rows=1, capacity=len(prompt_ids) + settings.max_new_tokens)
        cache.load(0, prefix)
        with ragged_attention(self._model, cache):
            if kept is not None:
                logits = self._run(prompt_ids[n_cached:], cache)
            answer.extend(answer.choose(logits))
            on_token(answer.token_ids)
            while answer.finish_reason is None:
                answer.extend(answer.choose(self._run(answer.token_ids[-1:], cache)))
                on_token(answer.token_ids)
        token_ids = (prompt_ids + tuple(answer.token_ids))[: cache.get_seq_length()]
        self._keep(_Kept(adapted, token_ids, cache), replaced=kept)
        return n_cached

    def _run(self, token_ids: Sequence[int], cache: DynamicCache) -> torch.Tensor:
        """Run tokens, add them to the cache, and return the logits [vocabulary] after the last one."""
        model: Any = self._model
        ids = torch.tensor([list(token_ids)], device=model.device)
        logits = model(input_ids=ids, past_key_values=cache, use_cache=True, logits_to_keep=1).logits[0, -1]
        if isinstance(cache, RaggedCache):
            cache.advance([len(token_ids)])
        assert isinstance(logits, torch.Tensor)
        return logits

    def _nearest(self, prompt_ids: tuple[int, ...], adapted: bool) -> tuple[_Kept | None, int]:
        """Return the kept cache that shares most tokens with a prompt, and how many. The last token is always run."""
        found, n_found = None, _SHORTEST_SHARED
        for kept in self._kept:
            if kept.adapted == adapted:
                n_common = n_shared(kept.token_ids, prompt_ids[:-1])
                if n_common >= n_found:
                    found, n_found = kept, n_common
        return (found, n_found) if found is not None else (None, 0)

    def _keep(self, kept: _Kept, *, replaced: _Kept | None) -> None:
        """Keep a cache. Drop the cache that it continues, and the least recently used one if there are too many."""
        if replaced is not None and kept.token_ids[: len(replaced.token_ids)] == replaced.token_ids:
            self._kept.remove(replaced)
        self._kept = [*self._kept[-(_N_KEPT - 1) :], kept]
