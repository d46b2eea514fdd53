"""A day, and the words that a customer uses for it."""

from datetime import date, datetime, timedelta
from random import Random
from typing import NamedTuple

from trainer.util.clock import DAYS_AHEAD, WEEKDAYS

from .office import Schedule


class Day(NamedTuple):
    """A day and the customer's words for it, with preposition ("on Saturday") and without."""

    date: date
    said: str
    plain: str

    @property
    def iso(self) -> str:
        """The date in the form that tools accept."""
        return self.date.isoformat()


def choose_day(rng: Random, now: datetime, *, schedule: Schedule, opened: bool) -> Day:
    """Choose one of the days after `now`, open or closed, and the customer's words for it."""
    ahead = [now.date() + timedelta(days=n) for n in range(1, DAYS_AHEAD + 1)]
    # On a Sunday, the next Sunday is too far away.
    fitting = [day for day in ahead if schedule.is_open(day) == opened]
    return _in_words(rng, now, rng.choice(fitting or ahead))


def said_word(said: str, meant: date, *, today: date) -> str:
    """Return the word (a weekday, "today" or "tomorrow") for the day `meant` that occurs last in lower-case text.

    >>> said_word("not on friday, tomorrow", date(2025, 3, 14), today=date(2025, 3, 13))
    'tomorrow'
    """
    n_days = (meant - today).days
    words = [WEEKDAYS[meant.weekday()], *{0: ["today"], 1: ["tomorrow"]}.get(n_days, [])]
    return max(words, key=lambda word: said.rfind(word.lower()))


def _in_words(rng: Random, now: datetime, chosen: date) -> Day:
    n_days = (chosen - now.date()).days
    weekday = WEEKDAYS[chosen.weekday()]
    same_week = chosen.isocalendar().week == now.isocalendar().week
    if n_days == 1 and rng.random() < 0.8:
        return Day(chosen, "tomorrow", "tomorrow")
    if rng.random() < 0.45:
        return Day(chosen, f"on {chosen.isoformat()}", chosen.isoformat())
    # Customers here do not say "next Tuesday" if it could mean two days.
    if not same_week and rng.random() < 0.2:
        return Day(chosen, f"next {weekday}", f"next {weekday}")
    return Day(chosen, f"on {weekday}", weekday)
