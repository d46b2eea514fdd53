"""Judge a model on the guard: what it answers without tools, and how likely it finds good answers. Writes no file."""

import hashlib
import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from typing import Any

from trainer.data.chat_setup import ChatSetup
from trainer.evaluation import ToolCallEvaluator
from trainer.generation.settings import DecodeSettings
from trainer.generation.teacher_forcing import DecodedTurn
from trainer.guard.conversations import GuardConversations
from trainer.guard.examples import GuardExamples, guard_examples
from trainer.guard.measures import GuardSession
from trainer.hub import shared_name
from trainer.tool_calls import ToolCallFormat
from trainer.types import Prediction, ToolEvalExample

logger = logging.getLogger(__name__)

MOST_NEW_TOKENS = 32
"""The most tokens of an answer that are decoded: a call at its beginning, or after a short sentence, begins by then."""

_N_SHOWN = 5


@dataclass(frozen=True)
class Guard:
    """The guard's turns for one model, and their decoder.

    `fingerprint` covers prompts, answers and decoding limits: models with the same one are measured on the same.
    """

    conversations: GuardConversations
    found: GuardExamples
    evaluator: ToolCallEvaluator
    fmt: ToolCallFormat
    fingerprint: str

    @property
    def examples(self) -> tuple[ToolEvalExample, ...]:
        """The turns to judge."""
        return self.found.examples

    def rows(self) -> Iterator[dict[str, Any]]:
        """Yield the tokens of every turn, as rows of `input_ids` with their `session_id`."""
        for one in self.examples:
            yield {"session_id": one.session_id, "input_ids": (*one.prompt_ids, *one.target_ids)}

    def sessions(self, decoded: Sequence[DecodedTurn]) -> list[GuardSession]:
        """Return what a model did in each conversation, by its decoded turns in the order of `examples`."""
        predictions = self.evaluator.evaluate(decoded).predictions
        if calling := [f"{one.session_id}/{one.turn}" for one in predictions if one.calls]:
            shown = ", ".join(calling[:_N_SHOWN]) + (", …" if calling[_N_SHOWN:] else "")
            logger.info(f"guard: {len(calling)} answers call a tool (session/turn): {shown}")
        turns = zip(predictions, decoded, strict=True)
        by_session = groupby(turns, key=lambda turn: turn[0].session_id)
        return [_session(list(group), self.fmt) for _, group in by_session]

    def facts(self) -> dict[str, Any]:
        """Return what was judged and what was not, as JSON values; no path of this machine and no ids of data."""
        return {
            "dataset": shared_name(self.conversations.dataset),
            "commit": self.conversations.commit,
            "fingerprint": self.fingerprint,
            "n_conversations": len({example.session_id for example in self.examples}),
            "n_turns": len(self.examples),
            "n_not_chosen": self.conversations.n_not_chosen,
            "n_left_out": len(self.found.left_out),
        }


def make_guard(conversations: GuardConversations | None, chat: ChatSetup, decoding: DecodeSettings) -> Guard | None:
    """Return the guard of a run, with answers decoded greedily; None if it is off or nothing can be judged."""
    if conversations is None:
        return None
    settings = replace(decoding, max_new_tokens=min(MOST_NEW_TOKENS, decoding.max_new_tokens), temperature=0.0)
    room = settings.max_context_tokens - settings.max_new_tokens
    found = guard_examples(conversations.sessions, chat.encoder, max_prompt_tokens=room)
    for line in _notes(conversations, found):
        logger.info(line)
    if not found.examples:
        return None
    evaluator = ToolCallEvaluator(found.examples, (), tokenizer=chat.tokenizer, fmt=chat.fmt, settings=settings)
    return Guard(conversations, found, evaluator, chat.fmt, _fingerprint(found.examples, settings))


def _notes(conversations: GuardConversations, found: GuardExamples) -> list[str]:
    n = len({example.session_id for example in found.examples})
    notes = [f"guard: {n} conversations without tools, {len(found.examples)} answers ({conversations.dataset})"]
    if conversations.n_not_chosen:
        notes.append(f"guard: {conversations.n_not_chosen:,} more conversations are not judged, to save time")
    if found.left_out:
        notes.append(f"guard: {len(found.left_out)} conversations left out; the first: {found.left_out[0]}")
    return notes


def _fingerprint(examples: Sequence[ToolEvalExample], settings: DecodeSettings) -> str:
    digest = hashlib.sha256(f"{settings.max_new_tokens} {sorted(settings.stop_token_ids)}".encode())
    for one in examples:
        digest.update(repr((one.session_id, one.turn, one.prompt_ids, one.target_ids)).encode())
    return digest.hexdigest()[:16]


def _session(turns: Sequence[tuple[Prediction, DecodedTurn]], fmt: ToolCallFormat) -> GuardSession:
    return GuardSession(
        n_turns=len(turns),
        n_calling=sum(bool(prediction.calls) for prediction, _ in turns),
        n_calls_first=sum(_begins_with_call(prediction, fmt) for prediction, _ in turns),
        nll=sum(sum(turn.nll) for _, turn in turns),
        n_tokens=sum(len(turn.nll) for _, turn in turns),
    )


def _begins_with_call(prediction: Prediction, fmt: ToolCallFormat) -> bool:
    """Return whether nothing but reasoning and markers is before the first attempt at a call."""
    return bool(prediction.calls) and not fmt.parse(prediction.text[: prediction.calls[0].start]).content
