"""Judge turns in process: one teacher-forced pass over gold, then decoding only where the model disagrees.

For every token that the assistant must produce, a pass over a gold session yields the likelihood of gold and
the token that greedy decoding would choose. As long as that token is gold's, greedy decoding and gold have the
same history, so a turn that agrees up to its stop token is its own greedy output. The other turns are decoded from
their first token that differs from gold, with the cache of the same pass, or of a second one if the model has recurrent
layers. (Verifying a draft in one pass is the idea of speculative decoding, Leviathan et al. 2023; here gold is the
draft.)

Parses no tool calls and computes no metrics.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import nn

from trainer.generation.kv_cache import CachePrefix, empty_cache, is_filled
from trainer.generation.position_scores import score_positions, turn_margins
from trainer.generation.recurrent_walk import Departure, Prefill, Walker
from trainer.generation.settings import DecodeSettings
from trainer.generation.shared_prefixes import SharedPrefix, TurnSpan, build_shared_prefixes, chunked
from trainer.generation.speculative import PartialAnswer, Unfinished, continue_answers, generate_answer
from trainer.generation.stem import Stem
from trainer.kernels.blocked_attention import attend_in_blocks
from trainer.lora_model import no_gradients, takes_logits_to_keep
from trainer.types import CallMargins, FinishReason, ToolEvalExample


@dataclass(frozen=True, slots=True)
class DecodedTurn:
    """The result of one turn. `token_ids` does not include the stop token.

    `accepted` is true if the pass alone decided the turn. `nll` holds the negative log likelihood (nats) of
    each gold token, including the stop token (empty for a turn that was skipped for its length). Neither they nor
    the margins depend on the bias of the settings.

    `margins` are those of a call; None if the settings name no tokens that begin one, if gold's call begins with
    another token, or if the turn was skipped.
    """

    token_ids: tuple[int, ...]
    finish_reason: FinishReason
    accepted: bool
    nll: tuple[float, ...]
    margins: CallMargins | None = None


@dataclass(frozen=True, slots=True)
class _Scored:
    """A turn after the pass: gold's likelihoods, the answer so far, and what it continues from if it is not finished.

    The prefix is None if the answer must be generated from its prompt.
    """

    span: TurnSpan
    nll: tuple[float, ...]
    answer: PartialAnswer
    margins: CallMargins | None = None
    prefix: CachePrefix | Prefill | None = None


def decode_turns(
    model: nn.Module,
    examples: Sequence[ToolEvalExample],
    settings: DecodeSettings,
    *,
    stem: Stem | None = None,
    on_done: Callable[[int], None] = lambda n_turns: None,
    on_note: Callable[[str], None] = lambda note: None,
) -> list[DecodedTurn]:
    """Decode every example on its true history; returns results in the order of `examples`.

    Every prompt begins with the `stem`, if there is one.

    With `temperature` 0 the tokens are those of `model.generate(do_sample=False)`; below float32, rounding may decide
    near ties differently. A turn whose prompt plus `max_new_tokens` exceeds `max_context_tokens` gets the finish reason
    `skipped_for_length`. `on_done` receives the number of turns that were just decided, and `on_note`, between turns,
    what is going on. Puts the model into evaluation mode and leaves it there.
    """
    model.eval()
    kept = _within_context(examples, settings)
    results = {
        index: DecodedTurn((), "skipped_for_length", accepted=False, nll=())
        for index in range(len(examples))
        if index not in kept
    }
    on_done(len(results))
    with no_gradients(model):
        walker = Walker(model)
        n_stem = stem.n_tokens if stem else 0
        for chunk in chunked(build_shared_prefixes(kept), max_tokens=settings.max_batch_tokens // 2, n_stem=n_stem):
            results |= _decode_chunk(model, walker, chunk, kept, settings, stem, on_done, on_note)
    return [results[index] for index in range(len(examples))]


def plan_units(
    examples: Sequence[ToolEvalExample], settings: DecodeSettings, *, n_stem: int = 0, n_shares: int = 1
) -> list[list[int]]:
    """All indices of `examples`, in the groups that are decoded together, such that `n_shares` processes have work.

    `decode_turns` on one group returns, to the last bit, what it returns for these examples in a call with all of
    them and the same stem, of `n_stem` tokens, if that call makes the same groups. Other groups change an answer only
    where rounding decides between two tokens.
    """
    kept = _within_context(examples, settings)
    prefixes = build_shared_prefixes(kept)
    share = -(-sum(len(prefix.input_ids) - n_stem for prefix in prefixes) // n_shares)
    chunks = chunked(prefixes, max_tokens=min(share, settings.max_batch_tokens // 2), n_stem=n_stem)
    units = [[span.example for prefix in chunk for span in prefix.turns] for chunk in chunks]
    skipped = [index for index in range(len(examples)) if index not in kept]
    return [*units, skipped] if skipped else units


def within_context(examples: Sequence[ToolEvalExample], settings: DecodeSettings) -> list[ToolEvalExample]:
    """Return the examples that are decoded, not skipped for their length."""
    return [*_within_context(examples, settings).values()]


def _within_context(examples: Sequence[ToolEvalExample], settings: DecodeSettings) -> dict[int, ToolEvalExample]:
    longest_prompt = settings.max_context_tokens - settings.max_new_tokens
    return {index: example for index, example in enumerate(examples) if len(example.prompt_ids) <= longest_prompt}


def _decode_chunk(
    model: nn.Module,
    walker: Walker,
    chunk: Sequence[SharedPrefix],
    examples: Mapping[int, ToolEvalExample],
    settings: DecodeSettings,
    stem: Stem | None,
    on_done: Callable[[int], None],
    on_note: Callable[[str], None],
) -> dict[int, DecodedTurn]:
    """The results of a few shared prefixes. No cache outlives the call, so memory holds only one chunk's caches."""
    scored: list[_Scored] = []
    unfinished: list[_Scored] = []
    decoded: set[int] = set()
    for number, prefix in enumerate(chunk, start=1):
        on_note(f"checking session {number} of {len(chunk)}")
        turns = _score_prefix(model, prefix, examples, settings, walker, stem)
        scored += [replace(turn, prefix=None) for turn in turns]  # so that the caches are freed before the answers
        unfinished += (new := [turn for turn in turns if turn.answer.finish_reason is None])
        decoded |= {turn.span.example for turn in new}
        on_done(len(turns) - len(new))
        # The caches of a chunk are bounded by its tokens, but the copies of states only by its turns.
        if number == len(chunk) or sum(map(_n_state_tokens, unfinished)) > settings.max_batch_tokens // 2:
            _finish(model, walker, unfinished, examples, settings, on_done, on_note)
            unfinished = []
    results = {}
    for turn in scored:
        index, reason = turn.span.example, turn.answer.finish_reason
        assert reason is not None
        accepted = index not in decoded
        results[index] = DecodedTurn(tuple(turn.answer.token_ids), reason, accepted, turn.nll, turn.margins)
    return results


def _n_state_tokens(turn: _Scored) -> int:
    return turn.prefix.n_state_tokens if isinstance(turn.prefix, CachePrefix) else 0


def _score_prefix(
    model: nn.Module,
    prefix: SharedPrefix,
    examples: Mapping[int, ToolEvalExample],
    settings: DecodeSettings,
    walker: Walker,
    stem: Stem | None,
) -> list[_Scored]:
    """The teacher-forced pass over one shared prefix: gold's likelihoods, and each turn's answer so far."""
    device = next(model.parameters()).device
    n_known = stem.n_tokens if stem else 0
    ids = torch.tensor([prefix.input_ids[n_known:]], device=device)  # int64 [1, tokens]
    spans = [range(span.start - 1, span.end - 1) for span in prefix.turns]  # token t+1 is predicted at t
    positions = torch.tensor([position - n_known for span in spans for position in span], device=device)
    cache = stem.new_cache() if stem else empty_cache(model.config)
    options: dict[str, Any] = {"past_key_values": cache, "use_cache": cache is not None}
    with attend_in_blocks(model):
        if takes_logits_to_keep(model):
            logits = model(input_ids=ids, logits_to_keep=positions, **options).logits[0]
        else:
            logits = model(input_ids=ids, **options).logits[0, positions]
    # logits [supervised tokens, vocabulary]
    greedy, nll, margins = score_positions(logits, ids[0, positions + 1], settings)
    scored, departures = [], []
    offset = 0
    for span in prefix.turns:
        part = slice(offset, offset + span.end - span.start)
        example = examples[span.example]
        answer = PartialAnswer(settings, name=f"{example.session_id}/{example.turn}")
        if settings.temperature > 0:
            answer.extend(answer.choose(logits[offset]))
        else:
            _follow_gold(answer, greedy[part], example.target_ids)
        of_call = turn_margins(margins[part], example, settings.call_token_ids)
        scored.append(_Scored(span, tuple(nll[part]), answer, of_call))
        if answer.finish_reason is None:
            n_agreed = len(answer.token_ids) - 1
            departures.append(Departure(span.start + n_agreed, logits[offset + n_agreed]))
        offset = part.stop
    # A cache that no turn continues is freed here.
    prefixes: Iterator[CachePrefix | Prefill | None] = iter(
        [CachePrefix(cache, departure.length) for departure in departures]
        if cache is not None and is_filled(cache)
        else walker.prefixes(prefix.input_ids, departures)
    )
    return [replace(turn, prefix=next(prefixes)) if turn.answer.finish_reason is None else turn for turn in scored]


def _follow_gold(answer: PartialAnswer, greedy: Sequence[int], gold: Sequence[int]) -> None:
    """Append the arg-max tokens up to and including the first that differs from gold."""
    for chosen, expected in zip(greedy, gold, strict=True):
        answer.extend(chosen)
        if chosen != expected or answer.finish_reason is not None:
            return


def _finish(
    model: nn.Module,
    walker: Walker,
    unfinished: Sequence[_Scored],
    examples: Mapping[int, ToolEvalExample],
    settings: DecodeSettings,
    on_done: Callable[[int], None],
    on_note: Callable[[str], None],
) -> None:
    from_cache = []
    for turn in unfinished:
        example = examples[turn.span.example]
        if turn.prefix is None:
            turn.answer.restart()
            generate_answer(model, example.prompt_ids, turn.answer, settings)
            on_done(1)
        else:
            hints = (*example.prompt_ids, *example.target_ids)
            from_cache.append(Unfinished(turn.answer, turn.prefix, hints))
    continue_answers(
        model, from_cache, settings, on_done, on_note, batches_states=walker.batches_states, branches=walker.branches
    )
