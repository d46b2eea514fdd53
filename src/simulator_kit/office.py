"""A simulated office: runs a tool call on a small world in memory and returns a JSON value, whatever a model wrote."""

import json
import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import date
from functools import cached_property
from typing import Any, cast

from pydantic import BaseModel, ConfigDict, TypeAdapter, ValidationError

from trainer.util.ordering import digest_number, shuffled

MAX_TIMES_A_DAY = 3
_EMAIL = re.compile(r"[^@\s]+@[^@\s]+\.[^@\s]+")

Result = dict[str, Any]
"""The answer of a tool, before it is written as JSON."""

Executor = Callable[[str, Mapping[str, Any]], Any]
"""Runs a tool by name and arguments and returns a JSON value."""


class ToolFailure(Exception):
    """A request that the office cannot fulfill; the model sees `{"error": message, **hints}`."""

    def __init__(self, message: str, **hints: Any) -> None:
        super().__init__(message)
        self.result: Result = {"error": message, **hints}


class Arguments(BaseModel):
    """A nested object in the arguments of a tool; unknown keys are refused."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Customer(Arguments):
    """The person who books an appointment."""

    name: str
    phone: str


@dataclass(frozen=True, slots=True)
class Schedule:
    """The times of day ("HH:MM") at which appointments are possible, and the days without any.

    `closed` holds weekdays (Monday is 0); `reason` explains to a customer why such a day is impossible.
    """

    times: tuple[str, ...]
    closed: tuple[int, ...]
    reason: str

    def is_open(self, day: date) -> bool:
        """Return whether the office is open on a day."""
        return day.weekday() not in self.closed

    def offered(self, name: str, day: date) -> tuple[str, ...]:
        """Return the times offered on a day for whatever `name` stands for, earliest first, at most three.

        The calendar is a pure function of name and day, so it needs no storage. One day in ten is full.
        """
        key = f"calendar\x00{name}\x00{day.isoformat()}"
        if not self.is_open(day) or digest_number(key) % 10 == 0:
            return ()
        n_times = 2 + digest_number(f"{key}\x00n") % (MAX_TIMES_A_DAY - 1)
        return tuple(sorted(shuffled(self.times, key=key)[:n_times]))


class Office(ABC):
    """The base of all simulated offices, on one day.

    `today` separates past from future. `first_number` is the number of the first booking. A booked slot stays taken.
    """

    schedule: Schedule

    def __init__(self, *, today: date, first_number: int = 1) -> None:
        self.today = today
        self._next_number = first_number
        self._taken: set[tuple[str, date, str]] = set()
        self._adapters: dict[str, TypeAdapter[Result]] = {}

    @property
    @abstractmethod
    def functions(self) -> tuple[Callable[..., Result], ...]:
        """The tools in the order of the domain's file of tools."""

    @cached_property
    def tools(self) -> Mapping[str, Callable[..., Result]]:
        """The tools by name."""
        return {function.__name__: function for function in self.functions}

    def _adapter(self, name: str) -> TypeAdapter[Result]:
        """What checks the arguments of a tool and then calls it; made when first needed, because that takes long."""
        if name not in self._adapters:
            self._adapters[name] = TypeAdapter[Result](cast(Any, self.tools[name]))
        return self._adapters[name]

    def call(self, name: str, arguments: Mapping[str, Any]) -> str:
        """Run one tool and return its result as compact JSON, so a tool message stays short. See `run`."""
        return json.dumps(self.run(name, arguments), ensure_ascii=False, separators=(",", ":"))

    def run(self, name: str, arguments: Mapping[str, Any]) -> Result:
        """Run one tool and return its result.

        Never raises for anything that a model may write: an unknown tool, wrong arguments and impossible
        requests are answered with `{"error": ...}`.
        """
        if name not in self.tools:
            return {"error": f"unknown tool {name}"}
        try:
            # With JSON input, pydantic checks types strictly and still builds nested objects.
            written = json.dumps(dict(arguments))
        except (TypeError, ValueError, RecursionError):
            return {"error": "the arguments cannot be written as JSON"}
        try:
            return self._adapter(name).validate_json(written, strict=True)
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(str(part) for part in first["loc"])
            return {"error": f"{where}: {first['msg'].lower()}" if where else first["msg"].lower()}
        except ToolFailure as failure:
            return failure.result

    def open_day(self, text: str) -> date:
        """Return the day written YYYY-MM-DD. Raises `ToolFailure` if it is no such date, past, or closed."""
        day = future_day(text, today=self.today)
        if not self.schedule.is_open(day):
            raise ToolFailure(self.schedule.reason)
        return day

    def free_times(self, name: str, day: date) -> list[str]:
        """Return the times on a day that are offered and not booked."""
        return [time for time in self.schedule.offered(name, day) if (name, day, time) not in self._taken]

    def take(self, name: str, day: date, time: str) -> None:
        """Book a time. Raises `ToolFailure`, with the free times, if it is not free."""
        free = self.free_times(name, day)
        if time not in free:
            raise ToolFailure(f"{time} is not free", free=free)
        self._taken.add((name, day, time))

    def number(self) -> int:
        """Return the next number for a booking."""
        number = self._next_number
        self._next_number += 1
        return number


def written_day(text: str) -> date:
    """Return the date written YYYY-MM-DD. Raises `ToolFailure`."""
    try:
        day = date.fromisoformat(text)
    except ValueError:
        day = None
    if day is None or day.isoformat() != text:
        raise ToolFailure(f"{text} is not a date written YYYY-MM-DD")
    return day


def future_day(text: str, *, today: date) -> date:
    """Return the date written YYYY-MM-DD. Raises `ToolFailure` if it is no such date or before `today`."""
    day = written_day(text)
    if day < today:
        raise ToolFailure(f"{text} is in the past")
    return day


def check_email(email: str) -> None:
    """Raise `ToolFailure` for text that cannot be an e-mail address."""
    if not _EMAIL.fullmatch(email):
        raise ToolFailure(f"{email} is not a valid e-mail")
