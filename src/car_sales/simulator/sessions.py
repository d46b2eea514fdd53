"""Plan sessions of car sales: who, in which showroom, and which scenes in which order."""

from collections.abc import Callable
from datetime import datetime
from random import Random

from simulator_kit.sessions import Simulation
from simulator_kit.talking import digress, greet, say_thanks
from simulator_kit.voice import Voice

from .buying import compare, details, details_and_rate, search
from .cast import CASTS
from .dealership import Dealership
from .dialogue import CarDialogue
from .paying import finance, trade_in
from .phrases import test, train
from .replies import REPLIES
from .visiting import book_directly, details_and_drive, leave_address, test_drive

Scene = Callable[[CarDialogue], None]

_BANKS = {"train": train, "test": test}

# A scene that is listed twice is chosen twice as often.
_LOOKING: tuple[Scene, ...] = (
    *(details, details_and_rate),
    *(compare, compare, finance, finance),
)
_CLOSING: tuple[Scene, ...] = (
    *(test_drive, test_drive, test_drive, details_and_drive),
    *(book_directly, book_directly, leave_address, leave_address, leave_address),
)


def _open(rng: Random, split: str, now: datetime) -> CarDialogue:
    cast = CASTS[split]
    owned_car = cast.draw_owned_car(rng)
    dealership = Dealership(cast.draw_stock(rng), [owned_car], today=now.date(), first_number=rng.randrange(1, 90))
    return CarDialogue(
        rng=rng,
        voice=Voice(rng, _BANKS[split]),
        office=dealership,
        person=cast.draw_person(rng),
        owned_car=owned_car,
        now=now,
        replies=REPLIES,
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


SIMULATION = Simulation(
    open_dialogue=_open,
    plan=_plan,
    timezone="Europe/Zurich",
    assistant_turns=range(10, 15),
    pieces=range(560, 1000),
    n_sessions={"train": 400, "test": 100},
    seed=3,
)
