"""Answer one prompt at a time with a base model or its adapter, and keep the caches of earlier prompts.

The next prompt of a conversation begins with the previous one, so only its new tokens have to be run. Works on tokens;
`service` handles messages and `server` handles HTTP.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
from peft import PeftModel
from transformers import DynamicCache, PreTrainedModel

from trainer.generation.kv_cache import CachePrefix, RaggedCache, empty_cache
from trainer.generation.logit_bias import biased
from trainer.generation.ragged_attention import ragged_attention
from trainer.generation.settings import DecodeSettings
from trainer.generation.shared_prefixes import n_shared
from trainer.generation.speculative import PartialAnswer, generate_answer
from trainer.kernels.precision import evaluation_precision
from trainer.lora_model import adapter_off
from trainer.serving.local.waiting_line import WaitingLine

_N_KEPT = 8
_SHORTEST_SHARED = 16  # copying a cache costs more than running fewer tokens than this again

_PIECE = 1024  # tokens of a prompt between two looks at the client

OnToken = Callable[[Sequence[int]], bool | None]
"""Receives the answer so far, which is empty before the first token. If it returns true, the answer ends."""


@dataclass(frozen=True, slots=True)
class NucleusSettings(DecodeSettings):
    """Settings with which tokens are sampled only from the most likely ones that sum up to `top_p`."""

    top_p: float = 1.0


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
        self._line = WaitingLine()
        self._kept: list[_Kept] = []  # the last one is the most recently used

    @property
    def n_vocabulary(self) -> int:
        """The number of logits at a position."""
        config: Any = self._model.config
        return int(config.get_text_config().vocab_size)

    def generate(
        self,
        prompt_ids: Sequence[int],
        settings: DecodeSettings,
        *,
        adapted: bool,
        on_token: OnToken = lambda token_ids: False,
    ) -> Generated:
        """Decode one answer, greedily if the temperature is 0.

        `on_token` is called for each token, and also before the first one: twice a second while other requests are
        answered, and several times for a long prompt. An exception that it raises ends the work, and the next request
        gets the model.
        """
        answer = PartialAnswer(settings, name="request")
        decoding = _Decoding(answer, settings, on_token)
        off = isinstance(self._model, PeftModel) and not adapted
        precision = evaluation_precision(self._model)
        with (
            self._line.turn(lambda: on_token(())),
            torch.inference_mode(),
            adapter_off(self._model, off=off),
            precision,
        ):
            if empty_cache(self._model.config) is None:
                n_cached = decoding.whole(self._model, prompt_ids)
            else:
                n_cached = self._decode(tuple(prompt_ids), decoding, adapted)
        assert answer.finish_reason is not None
        return Generated(tuple(answer.token_ids), answer.finish_reason, n_cached)

    def _decode(self, prompt_ids: tuple[int, ...], decoding: "_Decoding", adapted: bool) -> int:
        answer = decoding.answer
        kept, n_cached = self._nearest(prompt_ids, adapted)
        if kept is not None:
            prefix = CachePrefix(kept.cache, n_cached)
        else:
            prefix = CachePrefix(DynamicCache(), len(prompt_ids))
            logits = self._run(prompt_ids, prefix.cache, decoding)
        cache = RaggedCache(prefix.cache, n_rows=1, capacity=len(prompt_ids) + decoding.settings.max_new_tokens)
        cache.load(0, prefix)
        with ragged_attention(self._model, cache):
            if kept is not None:
                logits = self._run(prompt_ids[n_cached:], cache, decoding)
            decoding.extend(logits)
            while answer.finish_reason is None:
                decoding.extend(self._run(answer.token_ids[-1:], cache, decoding))
        token_ids = (prompt_ids + tuple(answer.token_ids))[: cache.get_seq_length()]
        self._keep(_Kept(adapted, token_ids, cache), replaced=kept)
        return n_cached

    def _run(self, token_ids: Sequence[int], cache: DynamicCache, decoding: "_Decoding") -> torch.Tensor:
        """Run tokens, add them to the cache, and return the logits [vocabulary] after the last one."""
        model: Any = self._model
        for start in range(0, len(token_ids), _PIECE):
            if len(token_ids) > 1:
                decoding.on_token(())
            piece = list(token_ids[start : start + _PIECE])
            ids = torch.tensor([piece], device=model.device)
            logits = model(input_ids=ids, past_key_values=cache, use_cache=True, logits_to_keep=1).logits[0, -1]
            if isinstance(cache, RaggedCache):
                cache.advance([len(piece)])
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


@dataclass(frozen=True, slots=True)
class _Decoding:
    """An answer that is being decoded, how its tokens are chosen, and who receives them."""

    answer: PartialAnswer
    settings: DecodeSettings
    on_token: OnToken

    def extend(self, logits: torch.Tensor) -> None:
        """Choose the next token from logits [vocabulary]."""
        self.answer.extend(self.answer.choose(self._nucleus(logits)))
        if self.on_token(self.answer.token_ids) and self.answer.finish_reason is None:
            self.answer.finish_reason = "stop"

    def whole(self, model: Any, prompt_ids: Sequence[int]) -> int:
        """Decode the whole answer without keeping a cache. Returns 0, the number of cached tokens."""
        n_prompt = len(prompt_ids)

        def is_done(ids: torch.Tensor, scores: torch.Tensor, **others: Any) -> torch.Tensor:
            done = bool(self.on_token([token for token in ids[0, n_prompt:].tolist() if not self._ends(token)]))
            return torch.full(ids.shape[:1], done, device=ids.device)

        def cut(ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
            return self._nucleus(scores[0])[None]

        generate_answer(model, prompt_ids, self.answer, self.settings, stopping=[is_done], processors=[cut])
        if self.answer.finish_reason is None:
            self.answer.finish_reason = "stop"
        return 0

    def _ends(self, token: int) -> bool:
        return token in self.settings.stop_token_ids

    def _nucleus(self, logits: torch.Tensor) -> torch.Tensor:
        """Exclude the tokens after the most likely ones that sum up to `top_p` at the temperature. One always stays."""
        top_p = self.settings.top_p if isinstance(self.settings, NucleusSettings) else 1.0
        if top_p >= 1 or self.settings.temperature == 0:
            return logits
        chosen_from = biased(logits, self.settings.logit_bias).float() / self.settings.temperature
        ordered, indices = torch.softmax(chosen_from, dim=-1).sort(descending=True)
        excluded = ordered.cumsum(-1) - ordered >= max(top_p, 1e-12)
        return logits.index_fill(0, indices[excluded], float("-inf"))
