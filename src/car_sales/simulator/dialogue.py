"""One session in progress: its messages, its tool calls, and what both sides can refer to so far.

Runs every call on the session's `Dealership` and answers in the assistant's style (`replies`). The scenes in
`buying`, `paying`, `visiting` and `talking` decide what happens.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from random import Random
from typing import Any, NamedTuple

from ..prompt import DAYS_AHEAD, WEEKDAYS, short_date
from .cast import Person
from .dealership import Dealership
from .replies import Outcome, date_note, fact, report
from .stock import SCHEDULE, OwnedCar, Vehicle
from .voice import Opening, Voice


class Day(NamedTuple):
    """A day and the customer's words for it, with preposition ("on Saturday") and without."""

    date: date
    said: str
    plain: str

    @property
    def iso(self) -> str:
        """The date in the form that tools accept."""
        return self.date.isoformat()


@dataclass
class Dialogue:
    """A conversation that grows turn by turn.

    `focus` is the car that "it" means; `listed` are the hits of the search just answered; `recent` are all cars
    mentioned so far; `named` are the cars whose names were shown; `details` are the results that can answer
    later questions; `talked_about` is the small talk so far.
    """

    rng: Random
    voice: Voice
    dealership: Dealership
    person: Person
    owned_car: OwnedCar
    now: datetime
    messages: list[dict[str, Any]] = field(default_factory=list)
    focus: str | None = None
    listed: tuple[str, ...] = ()
    recent: list[str] = field(default_factory=list)
    named: list[str] = field(default_factory=list)
    details: dict[str, Mapping[str, Any]] = field(default_factory=dict)
    talked_about: set[str] = field(default_factory=set)
    _n_calls: int = 0

    def user(self, situation: str, **slots: object) -> None:
        """Add a customer message with a phrasing drawn for the situation."""
        opening: Opening = "none" if self.messages else "hello"
        if self.was_served:
            opening = "remark"
        self._add("user", content=self.voice.say(situation, slots, opening=opening))

    @property
    def was_served(self) -> bool:
        """Whether the assistant has just reported a success."""
        if len(self.messages) < 2 or self.messages[-2]["role"] != "tool":
            return False
        result = json.loads(self.messages[-2]["content"])
        return "error" not in result and result != {"cars": []} and result.get("free") != []

    def say(self, text: str) -> None:
        """Add an assistant message."""
        self._add("assistant", content=text)

    def call(self, *calls: tuple[str, dict[str, Any]], answer: str = "") -> list[Mapping[str, Any]]:
        """Add one turn of tool calls, their results and the assistant's report; return the results.

        If the customer asked for one fact, `answer` names it, and the assistant states it instead of a report.
        """
        turn, results, outcomes = [], [], []
        for name, arguments in calls:
            self._n_calls += 1
            call_id = f"call_{self._n_calls}"
            written = json.dumps(arguments, ensure_ascii=False)
            function = {"name": name, "arguments": written}
            turn.append({"id": call_id, "type": "function", "function": function})
            content = self.dealership.call(name, arguments)
            results.append((call_id, content))
            outcomes.append(Outcome(name, arguments, json.loads(content)))
        days = dict.fromkeys(arguments["date"] for _, arguments in calls if "date" in arguments)
        words = [f"{word} {short_date(date.fromisoformat(iso))}" for iso in days if (word := self._word_for(iso))]
        self._add("assistant", content=date_note(words) if words else None, tool_calls=turn)
        for call_id, content in results:
            self._add("tool", content=content, tool_call_id=call_id)
        self._notice(outcomes)
        self.say(fact(answer, outcomes[0].result) if answer else report(outcomes))
        return [outcome.result for outcome in outcomes]

    def chance(self, probability: float) -> bool:
        """Return True with the given probability."""
        return self.rng.random() < probability

    def pick_car(self) -> Vehicle:
        """Choose a car to talk about: the one in focus, a listed or recent one, or any car in stock."""
        stock = self.dealership.stock
        if self.focus and self.chance(0.75):
            return stock[self.focus]
        return stock[self.rng.choice(self.listed or tuple(self.recent) or tuple(stock))]

    def other_car(self, *taken: Vehicle) -> Vehicle:
        """Choose another car, from the listed ones if any are left."""
        ids = {vehicle.id for vehicle in taken}
        pools = (self.listed, self.recent, self.dealership.stock)
        left = next(pool for ids_ in pools if (pool := [i for i in ids_ if i not in ids]))
        return self.dealership.stock[self.rng.choice(left)]

    def refer(self, vehicle: Vehicle, *, pronoun: bool = True) -> str:
        """Return words that here can only mean this car."""
        if pronoun and vehicle.id == self.focus and self.chance(0.45):
            return self.rng.choice(self.voice.this_car)
        if vehicle.id in self.listed[:3] and len(self.listed) > 1 and self.chance(0.1):
            return self._ordinal(vehicle)
        if vehicle.id in self.named and self.chance(0.2):
            return self._name(vehicle)
        return self.voice.by_id(vehicle.id)

    def day(self, *, opened: bool = True) -> Day:
        """Choose one of the next days and the customer's words for it.

        The garage is open on that day; if `opened` is false, it is closed, unless all of the next days are open.
        """
        today = self.now.date()
        ahead = [today + timedelta(days=n) for n in range(1, DAYS_AHEAD + 1)]
        fitting = [
            day for day in ahead if SCHEDULE.is_open(day) == opened
        ]  # on a Sunday, the next Sunday is too far away
        chosen = self.rng.choice(fitting or ahead)
        return self._in_words(chosen)

    def _in_words(self, chosen: date) -> Day:
        n_days = (chosen - self.now.date()).days
        weekday = WEEKDAYS[chosen.weekday()]
        same_week = chosen.isocalendar().week == self.now.isocalendar().week
        if n_days == 1 and self.chance(0.8):
            return Day(chosen, "tomorrow", "tomorrow")
        if self.chance(0.45):
            return Day(chosen, f"on {chosen.isoformat()}", chosen.isoformat())
        # Customers here do not say "next Tuesday" if it could mean two days.
        if not same_week and self.chance(0.2):
            return Day(chosen, f"next {weekday}", f"next {weekday}")
        return Day(chosen, f"on {weekday}", weekday)

    def _word_for(self, iso: str) -> str | None:
        """The customer's last word (a weekday or "tomorrow") for a date that nobody has written out yet."""
        if any(iso in (message["content"] or "") for message in self.messages):
            return None
        meant = date.fromisoformat(iso)
        words = [WEEKDAYS[meant.weekday()], *(["tomorrow"] if (meant - self.now.date()).days == 1 else [])]
        said = " ".join(message["content"] for message in self.messages if message["role"] == "user").lower()
        return max(words, key=lambda word: said.rfind(word.lower()))

    def _ordinal(self, vehicle: Vehicle) -> str:
        place = self.listed.index(vehicle.id)
        words = [("the first one", "the second one", "the third one")[place]]
        if place == len(self.listed) - 1:
            words.append("the last one")
        return self.rng.choice(words)

    def _name(self, vehicle: Vehicle) -> str:
        stock = self.dealership.stock
        words = [f"the {vehicle.name}"]
        if not vehicle.model[0].isdigit():
            words.append(f"the {vehicle.model}")
        if sum(stock[i].make == vehicle.make for i in self.named) == 1:
            words.append(f"the {vehicle.make}")
        return self.rng.choice(words)

    def _notice(self, outcomes: Sequence[Outcome]) -> None:
        self.listed = ()
        about: list[str] = []
        for name, arguments, result in outcomes:
            if name == "search_inventory":
                self.listed = tuple(car["id"] for car in result["cars"])
                about.extend(self.listed)
                self.named.extend(i for i in self.listed if i not in self.named)
            elif name == "vehicle_details" and "error" not in result:
                self.details[result["id"]] = result
                self.named.extend({result["id"]} - set(self.named))
            elif name == "compare_vehicles":
                about.extend(arguments["vehicle_ids"])
            if (vehicle_id := arguments.get("vehicle_id")) in self.dealership.stock:
                about.append(str(vehicle_id))
        self.recent.extend(i for i in dict.fromkeys(about) if i not in self.recent)
        self.focus = about[0] if len(set(about)) == 1 else None

    def _add(
        self,
        role: str,
        *,
        content: str | None = None,
        tool_calls: list[dict[str, Any]] | None = None,
        tool_call_id: str | None = None,
    ) -> None:
        message = {"role": role, "content": content, "tool_calls": tool_calls, "tool_call_id": tool_call_id}
        self.messages.append(message)
