"""Continue unfinished answers, many at a time, from caches that hold their histories. Knows no gold."""

import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import nn
from transformers import DynamicCache, GenerationConfig

from trainer.kv_cache import CachePrefix, gather_prefixes

# Taking finished rows out of a batch copies the cache of the others, so it waits until it saves enough.
_KEEP_FINISHED_ABOVE = 0.75


@dataclass(frozen=True, slots=True)
class DecodeSettings:
    """How answers are decoded.

    `max_batch_tokens` bounds memory: the tokens of a decoding batch, beside which the caches of a quarter as many are
    held. A turn or a session that is longer by itself comes alone.
    """

    stop_token_ids: frozenset[int]
    max_new_tokens: int
    max_context_tokens: int
    temperature: float = 0.0
    seed: int = 0
    max_batch_tokens: int = 32_768


class Answer:
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
    """An answer to go on with: the cache holds everything before the answer's last token."""

    answer: Answer
    prefix: CachePrefix


def continue_answers(
    model: nn.Module,
    unfinished: Sequence[Unfinished],
    settings: DecodeSettings,
    on_done: Callable[[int], None],
) -> None:
    """Decode every answer to its end, in batches of similar length under the token budget."""
    for batch in _batches(unfinished, settings):
        _continue_batch(model, batch, on_done)


def generate_answer(model: nn.Module, prompt_ids: Sequence[int], answer: Answer, settings: DecodeSettings) -> None:
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


def _batches(unfinished: Sequence[Unfinished], settings: DecodeSettings) -> Iterator[list[Unfinished]]:
    batch: list[Unfinished] = []
    for item in sorted(unfinished, key=lambda item: -item.prefix.length):
        width = (batch[0] if batch else item).prefix.length + settings.max_new_tokens
        if batch and (len(batch) + 1) * width > settings.max_batch_tokens:
            yield batch
            batch = []
        batch.append(item)
    if batch:
        yield batch


def _continue_batch(model: nn.Module, batch: Sequence[Unfinished], on_done: Callable[[int], None]) -> None:
    device = next(model.parameters()).device
    answers = [item.answer for item in batch]
    cache = gather_prefixes([item.prefix for item in batch], n_new_tokens=max(a.n_left for a in answers))
    lengths = torch.tensor([item.prefix.length for item in batch], device=device)
    width = int(lengths.max())
    # mask  # int64 [rows, width so far]; padding stands on the left
    mask = (torch.arange(width, device=device) >= width - lengths[:, None]).long()
    n_open = len(answers)
    while n_open:
        mask = torch.cat([mask, mask.new_ones(len(answers), 1)], dim=1)
        logits = _step(model, answers, mask, lengths, cache)
        lengths = lengths + 1
        for row, answer in enumerate(answers):
            if answer.finish_reason is None:
                answer.extend(answer.choose(logits[row]))
        rows = [row for row, answer in enumerate(answers) if answer.finish_reason is None]
        on_done(n_open - len(rows))
        n_open = len(rows)
        if 0 < n_open <= len(answers) * _KEEP_FINISHED_ABOVE:
            kept = torch.tensor(rows, device=device)
            answers, mask, lengths = [answers[row] for row in rows], mask[kept], lengths[kept]
            cache.batch_select_indices(kept)


def _step(
    model: nn.Module,
    answers: Sequence[Answer],
    mask: torch.Tensor,
    lengths: torch.Tensor,
    cache: DynamicCache,
) -> torch.Tensor:
    """Logits [rows, vocabulary] after each answer's last token."""
    last = torch.tensor([answer.token_ids[-1:] for answer in answers], device=mask.device)
    output = model(
        input_ids=last,
        attention_mask=mask,
        position_ids=lengths[:, None],
        past_key_values=cache,
        use_cache=True,
        logits_to_keep=1,
    )
    logits = output.logits[:, -1]
    assert isinstance(logits, torch.Tensor)
    return logits
