"""How a customer writes: a phrasing drawn for the situation, with its slots filled in and some typical habits."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import product
from random import Random
from types import ModuleType
from typing import Literal

Opening = Literal["hello", "remark", "none"]

TYPO_RATE = 0.03
CASUAL_RATE = 0.12
_COPIED = ("{email}", "{items}")
REMARK_RATE = 0.3
HELLO_RATE = 0.35
CORRECTION_RATE = 0.12
_BARE = ("greet", "thanks", "give_", "fix_", "wrong_id", "other_day", "refi")
"""The beginnings of the names of situations in which nothing is said before the request."""
_LONG_WORD = re.compile(r"(?<![{\w])[a-z]{5,}(?![}\w])")
_CHOICE = re.compile(r"\[([^\[\]]*)\]")


def expand(phrasing: str) -> frozenset[str]:
    """Return all sentences of a phrasing with `[a|b]` choices.

    >>> sorted(expand("[Hi|Hello][| there]!"))
    ['Hello there!', 'Hello!', 'Hi there!', 'Hi!']
    """
    parts = _CHOICE.split(phrasing)
    options = [part.split("|") if index % 2 else [part] for index, part in enumerate(parts)]
    return frozenset(map("".join, product(*options)))


@dataclass
class Voice:
    """The customer's side of one session, which uses no phrasing twice while others are left.

    `bank` is a module of a domain: PHRASES by situation, OPENERS, LINKS, CORRECTIONS, and words for the thing that was
    just talked about (THIS) and for a thing by its number (BY_ID).
    """

    rng: Random
    bank: ModuleType
    _used: set[str] = field(default_factory=set)
    _by_id: str = ""

    def __post_init__(self) -> None:
        """Choose one way to name a thing by its number, as a person would."""
        self._by_id = self.rng.choice(self.bank.BY_ID)

    @property
    def this(self) -> tuple[str, ...]:
        """Words for the thing that was just talked about."""
        return tuple(self.bank.THIS)

    def by_id(self, number: str) -> str:
        """Return words for a thing by its number."""
        return self._by_id.format(id=number)

    def pick(self, situation: str) -> str:
        """Return a phrasing of the situation with its choices made, if possible one not used in this session."""
        phrasings: tuple[str, ...] = self.bank.PHRASES[situation]
        fresh = [phrasing for phrasing in phrasings if phrasing not in self._used] or phrasings
        chosen = self.rng.choice(fresh)
        self._used.add(chosen)
        return _CHOICE.sub(lambda match: self.rng.choice(match[1].split("|")), chosen)

    def say(self, situation: str, slots: Mapping[str, object], *, opening: Opening) -> str:
        """Return the customer's message; `opening` is what may come before the request."""
        template = self.pick(situation)
        if self.rng.random() < TYPO_RATE:
            template = self._with_typo(template)
        text = template.format(**slots)
        # Values keep their case because they are copied: an address or a thing is never capitalized.
        is_casual = self.rng.random() < CASUAL_RATE
        if is_casual and not template.startswith(("{", "I ", "I'")):
            text = text[0].lower() + text[1:]
        elif not is_casual and not template.startswith(_COPIED):
            text = text[0].upper() + text[1:]
        if is_casual and text.endswith("."):
            text = text[:-1]
        return self._opened(situation, text, opening)

    def corrected(self, right: object, wrong: object) -> str:
        """Return the value as said, sometimes after a slip: "36, no, 48"."""
        if self.rng.random() >= CORRECTION_RATE or right == wrong:
            return str(right)
        return str(self.rng.choice(self.bank.CORRECTIONS)).format(right=right, wrong=wrong)

    def _opened(self, situation: str, text: str, opening: Opening) -> str:
        if opening == "none" or situation.startswith(_BARE):
            return text
        is_hello = opening == "hello"
        rate, openers = (HELLO_RATE, self.bank.OPENERS) if is_hello else (REMARK_RATE, self.bank.LINKS)
        return f"{self.rng.choice(openers)} {text}" if self.rng.random() < rate else text

    def _with_typo(self, template: str) -> str:
        words = list(_LONG_WORD.finditer(template))
        if not words:
            return template
        word = self.rng.choice(words)
        at = self.rng.randrange(word.start() + 1, word.end() - 2)
        return template[:at] + template[at + 1] + template[at] + template[at + 2 :]
