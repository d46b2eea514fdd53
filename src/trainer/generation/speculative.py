"""Continue unfinished answers, many at a time, from caches that hold their histories. Knows no gold."""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import nn
from transformers import GenerationConfig

from trainer.generation.kv_cache import CachePrefix, RaggedCache
from trainer.generation.prompt_lookup import Drafter
from trainer.generation.ragged_attention import attends_by_row, ragged_attention
from trainer.generation.settings import DecodeSettings

# Tokens drafted at a time: few drafts hold for longer, and on a CPU each of their tokens costs time.
_MAX_DRAFT = 7

# Taking finished rows out of a batch copies the cache of the others, so it waits until it saves enough.
_KEEP_FINISHED_ABOVE = 0.75


class PartialAnswer:
    """An answer that grows token by token until a stop token or the length limit.

    `token_ids` leaves the stop token out. With a temperature, tokens are drawn by a generator of the
    answer's own, seeded by `name`, so that they do not depend on what is decoded beside it.
    """

    def __init__(self, settings: DecodeSettings, *, name: str) -> None:
        self.token_ids: list[int] = []
        self.finish_reason: Literal["stop", "length"] | None = None
        self._settings = settings
        self._generator: torch.Generator | None = None
        if settings.temperature > 0:
            digest = hashlib.sha256(f"{settings.seed}\0{name}".encode()).digest()
            self._generator = torch.Generator().manual_seed(int.from_bytes(digest[:8], "big") >> 1)

    @property
    def n_left(self) -> int:
        """How many more tokens the limit allows."""
        return self._settings.max_new_tokens - len(self.token_ids)

    def restart(self) -> None:
        """Forget all tokens."""
        self.token_ids.clear()
        self.finish_reason = None

    def choose(self, logits: torch.Tensor) -> int:
        """The next token of a row of logits [vocabulary]: the arg-max, or a draw at the temperature."""
        if self._generator is None:
            return int(logits.argmax())
        chances = torch.softmax(logits.float().cpu() / self._settings.temperature, dim=-1)
        return int(torch.multinomial(chances, 1, generator=self._generator))

    def extend(self, token: int) -> None:
        """Take one more token, and finish where it ends the answer."""
        if token in self._settings.stop_token_ids:
            self.finish_reason = "stop"
            return
        self.token_ids.append(token)
        if len(self.token_ids) >= self._settings.max_new_tokens:
            self.finish_reason = "length"


@dataclass(frozen=True, slots=True)
class Unfinished:
    """An answer to go on with: the cache holds everything before the answer's last token.

    `hints` are tokens that the answer may well repeat in part, such as its prompt; they change its speed, not its text.
    """

    answer: PartialAnswer
    prefix: CachePrefix
    hints: Sequence[int]


def continue_answers(
    model: nn.Module,
    unfinished: Sequence[Unfinished],
    settings: DecodeSettings,
    on_done: Callable[[int], None],
) -> None:
    """Decode every answer to its end, as many at a time as the token budget allows.

    Each step checks a draft of the next few tokens of each answer, and takes those that the model chooses itself. Where
    an answer ends, a waiting one takes its row.
    """
    if not unfinished:
        return
    waiting = sorted(unfinished, key=lambda item: item.prefix.length)  # the longest last
    capacity = waiting[-1].prefix.length + settings.max_new_tokens + _MAX_DRAFT
    n_rows = min(len(waiting), max(1, settings.max_batch_tokens // capacity)) if attends_by_row(model) else 1
    cache = RaggedCache(waiting[-1].prefix.cache, n_rows=n_rows, capacity=capacity)
    rows = [_load(cache, place, waiting.pop()) for place in range(n_rows)]
    with ragged_attention(model, cache):
        while rows:
            n_open = sum(row.is_open for row in rows)
            _step(model, rows, cache, settings)
            on_done(n_open - sum(row.is_open for row in rows))
            ended = [place for place, row in enumerate(rows) if not row.is_open]
            for place in ended[: len(waiting)]:
                rows[place] = _load(cache, place, waiting.pop())
            kept = [place for place, row in enumerate(rows) if row.is_open]
            if len(kept) <= len(rows) * _KEEP_FINISHED_ABOVE:
                cache.keep(kept)
                rows = [rows[place] for place in kept]


def generate_answer(
    model: nn.Module, prompt_ids: Sequence[int], answer: PartialAnswer, settings: DecodeSettings
) -> None:
    """Decode one answer from its prompt, for models whose state cannot be cut (recurrent layers)."""
    ids = torch.tensor([list(prompt_ids)], device=next(model.parameters()).device)
    sampling = {"do_sample": True, "temperature": settings.temperature} if settings.temperature > 0 else {}
    config = GenerationConfig(
        max_new_tokens=settings.max_new_tokens,
        eos_token_id=sorted(settings.stop_token_ids),
        pad_token_id=min(settings.stop_token_ids, default=0),
        **{"do_sample": False, **sampling},
    )
    generate: Any = model.generate
    output = generate(input_ids=ids, attention_mask=torch.ones_like(ids), generation_config=config)
    for token in output[0, ids.shape[1] :].tolist():
        answer.extend(token)


@dataclass(frozen=True, slots=True)
class _Row:
    """An answer in a row of the batch, and what drafts how it goes on."""

    answer: PartialAnswer
    drafter: Drafter

    @property
    def is_open(self) -> bool:
        return self.answer.finish_reason is None

    def draft(self) -> list[int]:
        """What may follow; a pass yields one token more than it checks."""
        return self.drafter.propose(min(_MAX_DRAFT, self.answer.n_left - 1)) if self.is_open else []

    def take(self, draft: Sequence[int], logits: torch.Tensor) -> int:
        """Extend the answer by the draft as far as the model agrees, and by its own token behind; returns how many.

        `logits` [new, vocabulary] are those after the answer's last token and after each drafted one.
        """
        taken: list[int] = []
        while self.is_open and len(taken) <= len(draft) and taken == list(draft[: len(taken)]):
            taken.append(self.answer.choose(logits[len(taken)]))
            self.answer.extend(taken[-1])
        self.drafter.extend(taken)
        return len(taken)


def _load(cache: RaggedCache, row: int, item: Unfinished) -> _Row:
    cache.load(row, item.prefix)
    return _Row(item.answer, Drafter([*item.hints, *item.answer.token_ids]))


def _step(model: nn.Module, rows: Sequence[_Row], cache: RaggedCache, settings: DecodeSettings) -> None:
    """One pass over each answer's last token and the draft behind it, of which it takes what the model agrees to."""
    drafts = [row.draft() for row in rows]
    n_new = 1 + max(map(len, drafts))
    ids = [[*row.answer.token_ids[-1:], *draft] for row, draft in zip(rows, drafts, strict=True)]
    places = cache.lengths.places(n_new)
    output = model(
        input_ids=torch.tensor([known + [0] * (n_new - len(known)) for known in ids], device=places.device),
        position_ids=places.clamp(max=settings.max_context_tokens - 1),  # filler may reach past the last one
        past_key_values=cache,
        use_cache=True,
    )
    # logits [rows, new, vocabulary]
    cache.advance([row.take(draft, logits) for row, draft, logits in zip(rows, drafts, output.logits, strict=True)])
