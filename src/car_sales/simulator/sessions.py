"""Plan numbered sessions: which scenes, in which order, on which day.

A session depends only on its split, number and seed. Sessions share nothing.
"""

import re
from collections.abc import Callable, Iterator
from datetime import date, timedelta
from random import Random
from typing import Any

from ..prompt import UNKNOWN_DATE, session_datetime
from .buying import compare, details, details_and_rate, search
from .cast import CASTS
from .dealership import Dealership
from .dialogue import Dialogue
from .paying import finance, trade_in
from .talking import digress, greet, say_thanks
from .visiting import book_directly, details_and_drive, leave_address, test_drive
from .voice import BANKS, Voice

TIMEZONE = "Europe/Zurich"
Scene = Callable[[Dialogue], None]

# A scene that is listed twice is chosen twice as often.
_LOOKING: tuple[Scene, ...] = (
    *(details, details_and_rate),
    *(compare, compare, finance, finance),
)
_CLOSING: tuple[Scene, ...] = (
    *(test_drive, test_drive, test_drive, details_and_drive),
    *(book_directly, book_directly, leave_address, leave_address, leave_address),
)
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

ASSISTANT_TURNS = range(10, 15)
PIECES = range(560, 1000)
"""Limits on a session's length in pieces of text (a digit, a word or a mark), which are roughly tokens."""
_PIECE = re.compile(r"\d|[^\W\d_]+|[^\w\s]")


def make_sessions(split: str, *, n_sessions: int, seed: int) -> Iterator[dict[str, Any]]:
    """Yield the rows of a split: `session_id`, `inferred_date` and `conversation`."""
    for number in range(n_sessions):
        yield make_session(split, number=number, seed=seed)


def make_session(split: str, *, number: int, seed: int) -> dict[str, Any]:
    """Return one row; retries until the conversation has the right length and shows what it must."""
    session_id = f"{split}-{number:04d}"
    for attempt in range(1000):
        rng = Random(f"{seed}/{session_id}/{attempt}")
        is_unknown = number % _UNKNOWN_DATE_EVERY == 12
        day = _FIRST_DAY + timedelta(days=rng.randrange(_N_DAYS))
        inferred_date = UNKNOWN_DATE if is_unknown else day.isoformat()
        dialogue = _open(rng, split, session_id=session_id, inferred_date=inferred_date)
        for scene in _plan(rng):
            scene(dialogue)
        messages = dialogue.messages
        feature = _TO_SHOW[number % len(_TO_SHOW)]
        if _is_well_sized(messages) and _recovers(messages) and _shows(messages, feature):
            return {
                "session_id": session_id,
                "inferred_date": inferred_date,
                "conversation": messages,
            }
    raise AssertionError(f"{session_id}: no plan has the right size")


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


def _is_well_sized(messages: list[dict[str, Any]]) -> bool:
    n_turns = sum(message["role"] == "assistant" for message in messages)
    text = " ".join(f"{m['content'] or ''}{m['tool_calls'] or ''}" for m in messages)
    n_pieces = len(_PIECE.findall(text))
    return n_turns in ASSISTANT_TURNS and n_pieces in PIECES


def _open(rng: Random, split: str, *, session_id: str, inferred_date: str) -> Dialogue:
    cast = CASTS[split]
    # The customer assumes the same date as the prompt.
    now = session_datetime(session_id, inferred_date=inferred_date, timezone=TIMEZONE)
    owned_car = cast.draw_owned_car(rng)
    dealership = Dealership(cast.draw_stock(rng), [owned_car], today=now.date(), first_number=rng.randrange(1, 90))
    return Dialogue(
        rng=rng,
        voice=Voice(rng, BANKS[split]),
        dealership=dealership,
        person=cast.draw_person(rng),
        owned_car=owned_car,
        now=now,
    )


def _plan(rng: Random) -> list[Scene]:
    """Choose the scenes of a session in a natural order, with some small talk."""
    scenes: list[Scene] = [search] if rng.random() < 0.75 else []
    scenes += dict.fromkeys(rng.sample(_LOOKING, rng.choice((1, 2))))
    if rng.random() < 0.6:
        scenes.insert(rng.choice((0, len(scenes))), trade_in)
    scenes += dict.fromkeys(rng.sample(_CLOSING, rng.choice((1, 2, 2))))
    for _ in range(rng.choice((1, 1, 2))):
        scenes.insert(rng.randrange(len(scenes) + 1), digress)
    if rng.random() < 0.25:
        scenes.insert(0, greet)
    if rng.random() < 0.5:
        scenes.append(say_thanks)
    return scenes
