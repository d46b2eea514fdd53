"""Plan insurance sessions: who, with which policies, and which scenes in which order."""

from collections.abc import Callable
from datetime import datetime
from random import Random

from simulator_kit.sessions import Simulation
from simulator_kit.talking import digress, greet, say_thanks
from simulator_kit.voice import Voice

from .cast import CASTS
from .claiming import report_damage, status
from .dialogue import InsuranceDialogue
from .meeting import advisor, book_directly
from .office import InsuranceOffice
from .phrases import test, train
from .policies import document, move, show, show_and_send, show_and_status
from .quoting import household, motor
from .replies import REPLIES

Scene = Callable[[InsuranceDialogue], None]

_BANKS = {"train": train, "test": test}

# A scene that is listed twice is chosen twice as often.
_ASKING: tuple[Scene, ...] = (show, show, status, status, show_and_status)
_PRICING: tuple[Scene, ...] = (motor, motor, motor, household, household)
_DOING: tuple[Scene, ...] = (*5 * (report_damage,), *3 * (move,), show_and_send)
_CLOSING: tuple[Scene, ...] = (*4 * (advisor,), *3 * (book_directly,), document)


def _open(rng: Random, split: str, now: datetime) -> InsuranceDialogue:
    cast = CASTS[split]
    policies = cast.draw_policies(rng, now.date())
    office = InsuranceOffice(policies, rng=rng, today=now.date(), first_number=rng.randrange(1, 90))
    return InsuranceDialogue(
        rng=rng,
        voice=Voice(rng, _BANKS[split]),
        office=office,
        person=cast.draw_person(rng),
        cast=cast,
        now=now,
        replies=REPLIES,
    )


def _plan(rng: Random) -> list[Scene]:
    """Choose the scenes of a session in a natural order, with some small talk."""
    scenes: list[Scene] = [rng.choice(_ASKING)] if rng.random() < 0.65 else []
    scenes += [rng.choice(_PRICING)] if rng.random() < 0.85 else []
    scenes += [rng.choice(_DOING)]
    if rng.random() < 0.4:
        rng.shuffle(scenes)
    scenes += dict.fromkeys(rng.sample(_CLOSING, rng.choice((1, 1, 1, 2))))
    scenes = list(dict.fromkeys(scenes))
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
    timezone="America/Toronto",
    assistant_turns=range(10, 15),
    pieces=range(560, 1150),
    n_sessions={"train": 320, "test": 80},
    seed=5,
)
