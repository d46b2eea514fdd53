"""Put things into an order that depends on a key alone: the same on every machine, in every process.

Uses no random generator and no `hash()`, whose order changes with `PYTHONHASHSEED`.
"""

import hashlib
from collections.abc import Iterable
from typing import TypeVar

T = TypeVar("T")


def shuffled(items: Iterable[T], *, key: str) -> tuple[T, ...]:
    """Return all of `items` in an order that looks random and depends on `key` and their number alone.

    Items are sorted by the SHA-256 of the key and their position, so equal items are kept apart and the
    values need no order of their own.

    >>> shuffled("abcd", key="session-1") == shuffled("abcd", key="session-1")
    True
    >>> sorted(shuffled("abca", key="session-2"))
    ['a', 'a', 'b', 'c']
    """
    ranked = sorted(enumerate(items), key=lambda pair: digest_number(f"{key}\x00{pair[0]}"))
    return tuple(item for _, item in ranked)


def digest_number(text: str) -> int:
    """Return SHA-256 of `text` as a number from 0 to 2**256 - 1; `% n` of it picks evenly among n choices."""
    # A lone surrogate is no valid text but can sit in a Python string; it must not stop a run.
    return int.from_bytes(hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest(), "big")
