"""Continue unfinished answers from cached histories, many at a time, with draft tokens that the model checks.

A wrong draft cannot be taken back from the states of recurrent layers, so models with such layers get no drafts.
"""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, NamedTuple

import torch
from torch import nn
from transformers import GenerationConfig, LogitsProcessorList, StoppingCriteriaList

from trainer.generation.branched.cache import BranchedCache
from trainer.generation.kv_cache import CachePrefix, RaggedCache
from trainer.generation.logit_bias import biased
from trainer.generation.passes import run_branches, run_rows
from trainer.generation.prompt_lookup import Drafter
from trainer.generation.ragged_attention import supports_ragged_attention
from trainer.generation.recurrent_walk import Prefill, prefill
from trainer.generation.settings import DecodeSettings

# Draft tokens of an answer in a step. Few longer drafts are accepted.
_MAX_DRAFT = 7

# On a CPU, a step of a few tokens takes little longer than one of a single token. With more, the time per token falls
# until a step is full, and drafts beyond that never pay.
_CPU_FREE_TOKENS, _CPU_FULL_STEP = 8, 32

# Removing finished rows from a batch copies the cache of the others, so they stay while more than this share is open.
_KEEP_FINISHED_ABOVE = 0.75


class PartialAnswer:
    """An answer that grows token by token until a stop token or the length limit.

    `token_ids` does not include the stop token. With a temperature, each answer samples from its own random
    generator, seeded with `name`, so its tokens do not depend on the rest of the batch.
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
        """The number of tokens left until the limit."""
        return self._settings.max_new_tokens - len(self.token_ids)

    def restart(self) -> None:
        """Discard all tokens."""
        self.token_ids.clear()
        self.finish_reason = None

    def choose(self, logits: torch.Tensor) -> int:
        """The next token for a row of logits [vocabulary]: the arg-max, or a sample at the temperature.

        The bias of the settings is added first.
        """
        logits = biased(logits, self._settings.logit_bias)
        if self._generator is None:
            return int(logits.argmax())
        probabilities = torch.softmax(logits.float().cpu() / self._settings.temperature, dim=-1)
        return int(torch.multinomial(probabilities, 1, generator=self._generator))

    def extend(self, token: int) -> None:
        """Append a token, and finish if it ends the answer."""
        if token in self._settings.stop_token_ids:
            self.finish_reason = "stop"
            return
        self.token_ids.append(token)
        if len(self.token_ids) >= self._settings.max_new_tokens:
            self.finish_reason = "length"


@dataclass(frozen=True, slots=True)
class Unfinished:
    """An answer to continue: the prefix is everything before the answer's last token.

    `hints` are tokens that the answer may repeat in part, such as its prompt. They affect speed, not the text.
    """

    answer: PartialAnswer
    prefix: CachePrefix | Prefill
    hints: Sequence[int]


def continue_answers(
    model: nn.Module,
    unfinished: Sequence[Unfinished],
    settings: DecodeSettings,
    on_done: Callable[[int], None],
    on_note: Callable[[str], None] = lambda note: None,
    *,
    batches_states: bool = False,
    branches: bool = False,
) -> None:
    """Decode every answer to its end, as many at a time as the token budget allows.

    Answers that continue from states share a batch if `batches_states` is set, other ones if the model supports it.
    With `branches`, answers that continue from the same cache use it together, instead of copies of it.

    Each step checks a draft of the next few tokens of each answer and accepts those that the model itself chooses. When
    an answer ends, a waiting one takes its row.
    """
    if not unfinished:
        return
    waiting = sorted(unfinished, key=lambda item: item.prefix.length)  # longest last
    waiting[-1] = replace(waiting[-1], prefix=_filled(model, waiting[-1].prefix))
    cache = _empty_rows(model, waiting, settings, batches_states=batches_states, branches=branches)
    rows = [_load(model, cache, index, waiting.pop()) for index in range(cache.n_rows)]
    while rows:
        n_open = sum(row.is_open for row in rows)
        _step(model, rows, cache, settings)
        on_done(n_open - sum(row.is_open for row in rows))
        n_tokens = max(len(row.answer.token_ids) for row in rows)  # known on the CPU, so nothing waits for it
        on_note(f"decoding {len(rows)} answers, token {n_tokens} of {settings.max_new_tokens}")
        ended = [index for index, row in enumerate(rows) if not row.is_open]
        for index in ended[: len(waiting)]:
            rows[index] = _load(model, cache, index, waiting.pop())
        kept = [index for index, row in enumerate(rows) if row.is_open]
        if len(kept) <= len(rows) * _KEEP_FINISHED_ABOVE:
            cache.keep(kept)
            rows = [rows[index] for index in kept]


def generate_answer(
    model: nn.Module,
    prompt_ids: Sequence[int],
    answer: PartialAnswer,
    settings: DecodeSettings,
    *,
    stopping: Sequence[Callable[..., torch.Tensor]] = (),
    processors: Sequence[Callable[..., torch.Tensor]] = (),
) -> None:
    """Decode one answer from its prompt, for models whose states cannot be cropped.

    `stopping` and `processors` are stopping criteria and logits processors of transformers. The bias of the settings
    is added after the processors.
    """

    def add_bias(ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        return biased(scores, settings.logit_bias)

    ids = torch.tensor([list(prompt_ids)], device=next(model.parameters()).device)
    sampling = {"do_sample": True, "temperature": settings.temperature} if settings.temperature > 0 else {}
    config = GenerationConfig(
        max_new_tokens=settings.max_new_tokens,
        eos_token_id=sorted(settings.stop_token_ids),
        pad_token_id=min(settings.stop_token_ids, default=0),
        **{"do_sample": False, **sampling},
    )
    generate: Any = model.generate
    output = generate(
        input_ids=ids,
        attention_mask=torch.ones_like(ids),
        generation_config=config,
        stopping_criteria=StoppingCriteriaList(stopping),
        logits_processor=LogitsProcessorList([*processors, add_bias]),
    )
    for token in output[0, ids.shape[1] :].tolist():
        answer.extend(token)


class _DraftLimits(NamedTuple):
    """The most tokens in a draft: at all, and if the last one was wrong."""

    most: int
    unproven: int


def _draft_limits(n_rows: int, device: torch.device) -> _DraftLimits:
    if device.type != "cpu":
        return _DraftLimits(_MAX_DRAFT, _MAX_DRAFT)
    most, unproven = (min(_MAX_DRAFT, max(0, n // n_rows - 1)) for n in (_CPU_FULL_STEP, _CPU_FREE_TOKENS))
    return _DraftLimits(most, unproven)


@dataclass(frozen=True, slots=True)
class _Row:
    """An answer in a row of the batch, and the drafter of its next tokens; None without drafts."""

    answer: PartialAnswer
    drafter: Drafter | None

    @property
    def is_open(self) -> bool:
        return self.answer.finish_reason is None

    def draft(self, limits: _DraftLimits) -> list[int]:
        """A draft of the next tokens, with room for one more, since a pass yields one token more than it checks.

        As long as the answer follows its drafts, they get longer. The first is as long as possible: most answers differ
        little from gold.
        """
        if self.drafter is None or not self.is_open:
            return []
        n_right = self.drafter.n_right
        n_likely = limits.most if n_right is None else max(limits.unproven, 2 * n_right)
        return self.drafter.propose(min(n_likely, limits.most, self.answer.n_left - 1))

    def accept(self, draft: Sequence[int], logits: torch.Tensor) -> int:
        """Append the draft as far as the model agrees, then the model's own next token; returns how many tokens.

        `logits` [new, vocabulary] are those after the answer's last token and after each draft token.
        """
        accepted: list[int] = []
        while self.is_open and len(accepted) <= len(draft) and accepted == list(draft[: len(accepted)]):
            accepted.append(self.answer.choose(logits[len(accepted)]))
            self.answer.extend(accepted[-1])
        if self.drafter is not None:
            self.drafter.extend(accepted)
        return len(accepted)


def _filled(model: nn.Module, prefix: CachePrefix | Prefill) -> CachePrefix:
    return prefill(model, prefix) if isinstance(prefix, Prefill) else prefix


def _empty_rows(
    model: nn.Module, waiting: Sequence[Unfinished], settings: DecodeSettings, *, batches_states: bool, branches: bool
) -> RaggedCache | BranchedCache:
    """A cache with a row for each answer, or as many as the token budget allows. The longest prefix is the last."""
    longest = waiting[-1].prefix
    assert isinstance(longest, CachePrefix)
    capacity = settings.max_new_tokens + _MAX_DRAFT
    if branches and not longest.states:
        n_rows = min(len(waiting), max(1, settings.max_batch_tokens // 2 // capacity))
        return BranchedCache(longest.cache, n_rows=n_rows, capacity=capacity)
    capacity += longest.length
    n_rows = 1
    if batches_states if longest.states else supports_ragged_attention(model):
        n_rows = min(len(waiting), max(1, settings.max_batch_tokens // (capacity + longest.n_state_tokens)))
    return RaggedCache(longest.cache, n_rows=n_rows, capacity=capacity)


def _load(model: nn.Module, cache: RaggedCache | BranchedCache, row: int, item: Unfinished) -> _Row:
    cache.load(row, _filled(model, item.prefix))
    return _Row(item.answer, None if cache.has_states else Drafter([*item.hints, *item.answer.token_ids]))


def _step(model: nn.Module, rows: Sequence[_Row], cache: RaggedCache | BranchedCache, settings: DecodeSettings) -> None:
    """One pass over each answer's last token and its draft, of which it accepts what the model agrees with."""
    limits = _draft_limits(sum(row.is_open for row in rows), next(model.parameters()).device)
    drafts = [row.draft(limits) for row in rows]
    ids = [[*row.answer.token_ids[-1:], *draft] if row.is_open else [] for row, draft in zip(rows, drafts, strict=True)]
    n_positions = settings.max_context_tokens
    logits = (
        run_branches(model, ids, cache, n_positions=n_positions)
        if isinstance(cache, BranchedCache)
        else run_rows(model, ids, cache, n_positions=n_positions)
    )
    cache.advance([row.accept(draft, after) for row, draft, after in zip(rows, drafts, logits, strict=True)])
