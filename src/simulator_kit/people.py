"""Customers of simulated sessions."""

from dataclasses import dataclass
from random import Random

_PLAIN = (("ä", "ae"), ("ö", "oe"), ("ü", "ue"), ("é", "e"), ("ë", "e"))


@dataclass(frozen=True, slots=True)
class Person:
    """A customer."""

    name: str
    phone: str
    email: str


def draw_person(
    rng: Random, *, first_names: tuple[str, ...], last_names: tuple[str, ...], prefixes: tuple[str, ...]
) -> Person:
    """Draw a customer; phone numbers are too short to exist, and e-mail addresses use reserved example domains.

    `prefixes` are the beginnings of phone numbers.
    """
    first, last = rng.choice(first_names), rng.choice(last_names)
    domain = rng.choice(("example.com", "example.org", "example.net"))
    local = f"{first[0]}.{last}".lower()
    for letter, plain in _PLAIN:
        local = local.replace(letter, plain)
    phone = f"{rng.choice(prefixes)} {rng.randrange(100, 1000)} {rng.randrange(10, 100)}"
    return Person(f"{first} {last}", phone, f"{local}@{domain}")
