"""Search the patterns of a schema in bounded time.

Python's `re` can search for years where a pattern fits in very many ways, such as `^(a|a)+$`. Refusing nested
repetition would refuse harmless patterns (`^[a-z]+(-[a-z]+)*$`), and an engine without backtracking has no lookahead.
So patterns are searched by the `regex` package, which has a time limit. The limit counts the processor time of this
process, so other processes do not change a verdict. A sound pattern needs microseconds and one that backtracks without
end needs more than any limit; there is little in between.
"""

import math
import re
import time
import warnings
from contextvars import ContextVar
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final

import regex

_SEARCH_S: Final = 0.25  # for all the patterns of one call together
_MOST_STEPS: Final = 10_000  # references followed for one call; a call of a thousand items needs a few thousand

_MOST_CHARACTERS: Final = 10_000
_CLASS: Final = re.compile(r"\[(?:\\.|[^\]\\])*\]")
# What `regex` adds to the language: fuzzy matching, recursion, backtracking verbs.
_EXTENSIONS: Final = re.compile(r"(?<!\\)(?:\{[eids](?:[<:,}]|<=)|\(\?R\)|\(\?&|\(\*[A-Z])")
_MOST_COPIES: Final = 100_000  # `regex` writes out counted repeats; this many take 40 MB and 0.03 s


class TooMuchWork(Exception):
    """A call cannot be judged within its limits. The message is for the user."""


@dataclass(slots=True)
class Budget:
    """What one call may still cost: processor seconds in patterns, and steps."""

    search_s: float = _SEARCH_S
    n_steps: int = _MOST_STEPS


BUDGET: ContextVar[Budget] = ContextVar("budget")
"""The budget of the call that is being judged."""


def spend_step() -> None:
    """Count one step. Raises TooMuchWork after the last: schemas can ask for exponentially many."""
    budget = BUDGET.get()
    budget.n_steps -= 1
    if budget.n_steps < 0:
        raise TooMuchWork(f"judging it takes more than {_MOST_STEPS} references or alternatives")


def search(pattern: str, text: str) -> bool:
    """Whether a pattern occurs in a text. Raises TooMuchWork when the call's time for patterns is used up."""
    budget = BUDGET.get()
    start = time.process_time()
    try:
        # A limit of zero or less would mean none.
        return _compiled(pattern).search(text, timeout=max(budget.search_s, 1e-9)) is not None
    except TimeoutError:
        raise TooMuchWork(f"pattern {pattern!r:.200} takes too long on it") from None
    finally:
        budget.search_s -= time.process_time() - start


def pattern_problem(pattern: str) -> str | None:
    """Why a pattern cannot be used; None if it can."""
    if len(pattern) > _MOST_CHARACTERS:
        return f"pattern {pattern!r:.80}… has {len(pattern)} characters; at most {_MOST_CHARACTERS} are allowed"
    groups, singles = regex.findall(r"\)\{(\d+)", pattern), regex.findall(r"(?<!\))\{(\d+)", pattern)
    # Groups may be nested, so their counts multiply.
    n_copies = (len(pattern) + sum(map(_count, singles))) * math.prod(max(_count(count), 1) for count in groups)
    if n_copies > _MOST_COPIES:
        return f"pattern {pattern!r:.200} repeats too much; use smaller counts or minLength and maxLength"
    if extension := _EXTENSIONS.search(_CLASS.sub("[]", pattern)):
        return f"pattern {pattern!r:.200} uses {extension[0]!r}, which JSON Schema does not have; write it without"
    try:
        _compiled(pattern)
    except (regex.error, RecursionError, OverflowError, ValueError) as error:
        return f"pattern {pattern!r:.200} is not a regular expression: {error}"
    return None


def _count(digits: str) -> int:
    return int(digits[:7])


@lru_cache(maxsize=1024)
def _compiled(pattern: str) -> "regex.Pattern[str]":
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # "possible nested set": today's meaning is the right one
        compiled: Any = regex.compile(pattern)
    return compiled
