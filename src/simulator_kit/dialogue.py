"""One session in progress: its messages and its tool calls, which run on the session's `Office`.

A domain extends `Dialogue` by what both sides can refer to so far; its scenes decide what happens.
"""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from random import Random
from typing import Any, Generic, TypeAlias, TypeVar

from trainer.util.clock import short_date

from .days import Day, choose_day, said_word
from .office import Office
from .people import Person
from .replies import Outcome, Replies, date_note
from .voice import Opening, Voice

OfficeT = TypeVar("OfficeT", bound=Office)
_DATE = re.compile(r"\d{4}-\d{2}-\d{2}", re.ASCII)


@dataclass(kw_only=True)
class Dialogue(Generic[OfficeT]):
    """A conversation that grows turn by turn; `talked_about` is the small talk so far."""

    rng: Random
    voice: Voice
    office: OfficeT
    person: Person
    now: datetime
    replies: Replies
    messages: list[dict[str, Any]] = field(default_factory=list)
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
        """Whether the assistant has just reported a success: no error and no empty list."""
        if len(self.messages) < 2 or self.messages[-2]["role"] != "tool":
            return False
        result = json.loads(self.messages[-2]["content"])
        return "error" not in result and [] not in result.values()

    def say(self, text: str) -> None:
        """Add an assistant message."""
        self._add("assistant", content=text)

    def ask_for(self, *missing: str) -> None:
        """Add the assistant's question for missing arguments, given in the schema's order."""
        self.say(self.replies.ask_for(*missing))

    def state(self, topic: str, known: Mapping[str, Any]) -> None:
        """Add the assistant's answer about a fact in an earlier result."""
        self.say(self.replies.fact(topic, known))

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
            content = self.office.call(name, arguments)
            results.append((call_id, content))
            outcomes.append(Outcome(name, arguments, json.loads(content)))
        days = dict.fromkeys(day for _, arguments in calls for day in dates_in(arguments))
        words = [f"{word} {short_date(date.fromisoformat(iso))}" for iso in days if (word := self._word_for(iso))]
        self._add("assistant", content=date_note(words) if words else None, tool_calls=turn)
        for call_id, content in results:
            self._add("tool", content=content, tool_call_id=call_id)
        self.notice(outcomes)
        if answer:
            self.state(answer, outcomes[0].result)
        else:
            self.say(self.replies.report(outcomes))
        return [outcome.result for outcome in outcomes]

    def notice(self, outcomes: Sequence[Outcome]) -> None:
        """Remember what a turn's calls were about; a domain's dialogue does."""

    def chance(self, probability: float) -> bool:
        """Return True with the given probability."""
        return self.rng.random() < probability

    def day(self, *, opened: bool = True) -> Day:
        """Choose one of the next days and the customer's words for it.

        The office is open on that day; if `opened` is false, it is closed, unless all of the next days are open.
        """
        return choose_day(self.rng, self.now, schedule=self.office.schedule, opened=opened)

    def another_day(self, day: Day) -> Day:
        """Choose another of the next days on which the office is open."""
        while (other := self.day()).date == day.date:
            pass
        return other

    def perhaps_corrected(self, day: Day) -> str:
        """Return the customer's words for a day, sometimes after a slip."""
        wrong = self.another_day(day)
        # Nobody who corrects a weekday says digits by mistake.
        if any(other.iso in other.said for other in (day, wrong)):
            return day.said
        return self.voice.corrected(day.said, wrong.said)

    def with_contact(self, situations: tuple[str, str], said: dict[str, Any]) -> None:
        """Speak with name and phone at once, or without, in which case the assistant asks for them."""
        contact = {"name": self.person.name, "phone": self.person.phone}
        without, with_contact = situations
        if self.chance(0.5):
            self.user(with_contact, **said, **contact)
        else:
            self.user(without, **said)
            self.ask_for("name", "phone")
            self.user("give_contact", **contact)

    def _word_for(self, iso: str) -> str | None:
        """The customer's last word (a weekday, "today", "tomorrow") for a date that nobody has written out yet."""
        if any(iso in (message["content"] or "") for message in self.messages):
            return None
        said = " ".join(message["content"] for message in self.messages if message["role"] == "user").lower()
        return said_word(said, date.fromisoformat(iso), today=self.now.date())

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


AnyDialogue: TypeAlias = Dialogue[Any]


def dates_in(arguments: Any) -> Iterator[str]:
    """Yield the dates (YYYY-MM-DD) in a call's arguments, at any depth, in their order.

    >>> list(dates_in({"claim": {"date": "2025-03-14", "items": [{"name": "sofa"}]}}))
    ['2025-03-14']
    """
    if isinstance(arguments, Mapping):
        arguments = list(arguments.values())
    if isinstance(arguments, list):
        for item in arguments:
            yield from dates_in(item)
    elif isinstance(arguments, str) and _DATE.fullmatch(arguments):
        yield arguments
