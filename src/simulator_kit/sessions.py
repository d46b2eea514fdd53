"""Make numbered sessions of a domain: draw plans until a conversation has the right size and shows what it must.

A session depends only on its split, number and seed. Sessions share nothing.
"""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from random import Random
from typing import Any, Generic, TypeVar

from trainer.util.clock import UNKNOWN_DATE, session_datetime

from .dialogue import AnyDialogue

D = TypeVar("D", bound=AnyDialogue)

_FIRST_DAY = date(2024, 1, 2)
_N_DAYS = 3 * 365
_UNKNOWN_DATE_EVERY = 20
_TO_SHOW = (
    "anything",
    "error",
    "anything",
    "parallel calls",
    "anything",
    "anything",
    "parallel calls",
    *3 * ("anything",),
)
"""What each session must show, in rotation, so rare situations are frequent enough in any part of the data."""
_PIECE = re.compile(r"\d|[^\W\d_]+|[^\w\s]")


@dataclass(frozen=True, slots=True)
class Simulation(Generic[D]):
    """How a domain makes its sessions.

    `open_dialogue` begins a dialogue of a split at a moment; `plan` chooses the scenes. `assistant_turns` and `pieces`
    limit a session's length; a piece is a digit, a word or a mark, roughly a token. `n_sessions` (by split) and `seed`
    are those of the shipped data.
    """

    open_dialogue: Callable[[Random, str, datetime], D]
    plan: Callable[[Random], Sequence[Callable[[D], None]]]
    timezone: str
    assistant_turns: range
    pieces: range
    n_sessions: Mapping[str, int]
    seed: int

    def sessions(self, split: str, *, n_sessions: int, seed: int) -> Iterator[dict[str, Any]]:
        """Yield the rows of a split: `session_id`, `inferred_date` and `conversation`."""
        for number in range(n_sessions):
            yield self.session(split, number=number, seed=seed)

    def session(self, split: str, *, number: int, seed: int) -> dict[str, Any]:
        """Return one row; retries until the conversation has the right length and shows what it must."""
        session_id = f"{split}-{number:04d}"
        for attempt in range(1000):
            rng = Random(f"{seed}/{session_id}/{attempt}")
            is_unknown = number % _UNKNOWN_DATE_EVERY == 12
            day = _FIRST_DAY + timedelta(days=rng.randrange(_N_DAYS))
            inferred_date = UNKNOWN_DATE if is_unknown else day.isoformat()
            # The customer assumes the same date as the prompt.
            now = session_datetime(session_id, inferred_date=inferred_date, timezone=self.timezone)
            dialogue = self.open_dialogue(rng, split, now)
            for scene in self.plan(rng):
                scene(dialogue)
            if self._is_good(dialogue.messages, _TO_SHOW[number % len(_TO_SHOW)]):
                return {
                    "session_id": session_id,
                    "inferred_date": inferred_date,
                    "conversation": dialogue.messages,
                }
        raise AssertionError(f"{session_id}: no plan has the right size")

    def _is_good(self, messages: list[dict[str, Any]], feature: str) -> bool:
        n_turns = sum(message["role"] == "assistant" for message in messages)
        text = " ".join(f"{m['content'] or ''}{m['tool_calls'] or ''}" for m in messages)
        is_well_sized = n_turns in self.assistant_turns and len(_PIECE.findall(text)) in self.pieces
        return is_well_sized and _recovers(messages) and _shows(messages, feature)


def _shows(messages: list[dict[str, Any]], feature: str) -> bool:
    if feature == "error":
        return any(m["role"] == "tool" and '"error"' in m["content"] for m in messages)
    if feature == "parallel calls":
        return any(len(m["tool_calls"] or ()) > 1 for m in messages)
    return True


def _recovers(messages: list[dict[str, Any]]) -> bool:
    """Whether every failed call is followed by a successful one of the same tool; two scenes may want the same slot."""
    names = [call["function"]["name"] for message in messages for call in message["tool_calls"] or ()]
    failed = ['"error"' in message["content"] for message in messages if message["role"] == "tool"]
    outcomes = list(zip(names, failed, strict=True))
    return all(
        not has_failed or (name, False) in outcomes[index + 1 :] for index, (name, has_failed) in enumerate(outcomes)
    )
