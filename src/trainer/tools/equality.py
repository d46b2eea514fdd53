"""Decide whether two argument values mean the same, and count the JSON paths that they share.

Typed by default; looser only if the tool's schema asks for it with `x-compare`. Knows no calls and no metrics.
"""

import math
import unicodedata
from collections.abc import Callable, Mapping
from datetime import date, datetime, time
from typing import Any, NamedTuple

import regex as re

from trainer.tools.schema import ANYTHING, MAX_DEPTH, MISSING, Comparator, SchemaNode


def equal(a: Any, b: Any, node: SchemaNode = ANYTHING) -> bool:
    """Whether two JSON values are the same argument value, given the place `node` in the tool's schema.

    1 equals 1.0, True does not equal 1, "5" does not equal 5, key order is free, array order counts. A member that
    one side omits counts as its schema default. If the schema says `x-compare`, that comparator decides instead; on
    values of a kind that it does not know, the typed comparison does. More than MAX_DEPTH levels down, the schema no
    longer counts: values there are equal if they are the same typed JSON.

    >>> equal({"n": 1, "tags": ["a"]}, {"tags": ["a"], "n": 1.0})
    True
    >>> equal(True, 1)
    False
    """
    return _equal(a, b, node, 0)


def _equal(a: Any, b: Any, node: SchemaNode, depth: int) -> bool:
    if depth > MAX_DEPTH:
        return _same_json(a, b)
    comparator = node.comparator
    if comparator is not None:
        verdict = _COMPARATORS[comparator](a, b, node, depth)
        if verdict is not None:
            return verdict
    if isinstance(a, dict) and isinstance(b, dict):
        return all(
            _equal(_member(a, key, node), _member(b, key, node), node.property(key), depth + 1)
            for key in a.keys() | b.keys()
        )
    if isinstance(a, list) and isinstance(b, list):
        item = node.item()
        return len(a) == len(b) and all(_equal(x, y, item, depth + 1) for x, y in zip(a, b, strict=True))
    if isinstance(a, dict | list) or isinstance(b, dict | list):
        return False
    if isinstance(a, bool) or isinstance(b, bool):
        return a is b
    return bool(a == b)


def _same_json(a: Any, b: Any) -> bool:
    pending = [(a, b)]
    while pending:
        a, b = pending.pop()
        if isinstance(a, dict) and isinstance(b, dict):
            if a.keys() != b.keys():
                return False
            pending += [(value, b[key]) for key, value in a.items()]
        elif isinstance(a, list) and isinstance(b, list):
            if len(a) != len(b):
                return False
            pending += zip(a, b, strict=True)
        elif not _equal(a, b, ANYTHING, 0):
            return False
    return True


def _member(value: dict[str, Any], key: str, node: SchemaNode) -> Any:
    return value[key] if key in value else node.default(key)


class PathCounts(NamedTuple):
    """JSON paths that end in a value: in gold, in the prediction, in both, and in both with equal values."""

    gold: int = 0
    predicted: int = 0
    shared: int = 0
    equal: int = 0

    def plus(self, other: "PathCounts") -> "PathCounts":
        """The sum, field by field."""
        return PathCounts(*(a + b for a, b in zip(self, other, strict=True)))


def count_paths(gold: Any, predicted: Any, node: SchemaNode = ANYTHING) -> PathCounts:
    """Count the paths of two arguments objects.

    A path runs through object keys and array positions down to a scalar, an empty container, or a value with a
    comparator of its own; never deeper than MAX_DEPTH levels. A member that only one side writes down counts for both
    when it has a default.
    """
    return _count_paths(gold, predicted, node, 0)


def _count_paths(gold: Any, predicted: Any, node: SchemaNode, depth: int) -> PathCounts:
    depth += 1
    if isinstance(gold, dict) and isinstance(predicted, dict):
        keys = gold.keys() | predicted.keys()
        members = [(_member(gold, k, node), _member(predicted, k, node), node.property(k)) for k in keys]
    elif isinstance(gold, list) and isinstance(predicted, list):
        size = max(len(gold), len(predicted))
        padded = (values + [MISSING] * (size - len(values)) for values in (gold, predicted))
        members = [(g, p, node.item()) for g, p in zip(*padded, strict=True)]
    else:
        members = []
    total = PathCounts()
    for g, p, member in members:
        if _is_leaf(g, member, depth) and _is_leaf(p, member, depth):
            total = total.plus(PathCounts(1, 1, 1, int(_equal(g, p, member, depth))))
        elif not _is_leaf(g, member, depth) and not _is_leaf(p, member, depth) and type(g) is type(p):
            total = total.plus(_count_paths(g, p, member, depth))
        else:
            total = total.plus(PathCounts(gold=_n_leaves(g, member, depth), predicted=_n_leaves(p, member, depth)))
    return total


def n_paths(arguments: dict[str, Any], node: SchemaNode = ANYTHING) -> int:
    """The number of paths of one arguments object."""
    return sum(_n_leaves(value, node.property(key), 1) for key, value in arguments.items())


def _is_leaf(value: Any, node: SchemaNode, depth: int) -> bool:
    if value is MISSING:
        return False
    is_scalar = not isinstance(value, dict | list) or not value
    return is_scalar or depth > MAX_DEPTH or node.comparator is not None


def _n_leaves(value: Any, node: SchemaNode, depth: int) -> int:
    if value is MISSING:
        return 0
    if _is_leaf(value, node, depth):
        return 1
    if isinstance(value, dict):
        return sum(_n_leaves(inner, node.property(key), depth + 1) for key, inner in value.items())
    return sum(_n_leaves(inner, node.item(), depth + 1) for inner in value)


def _same_casefold(a: Any, b: Any, node: SchemaNode, depth: int) -> bool | None:
    if isinstance(a, str) and isinstance(b, str):
        return _fold(a) == _fold(b)
    return None


def _fold(text: str) -> str:
    return unicodedata.normalize("NFC", unicodedata.normalize("NFKC", text).casefold())


def _same_text(a: Any, b: Any, node: SchemaNode, depth: int) -> bool | None:
    if isinstance(a, str) and isinstance(b, str):
        return _words(a) == _words(b)
    return None


# What distinguishes words: letters with their marks, digits, symbols such as + and €, the punctuation that changes a
# meaning, a sign before a number, and a separator inside one. All other punctuation only divides.
_WORD = re.compile(
    r"(?:(?<![\p{L}\p{N}])(?:-\.?|\.)(?=\d)|(?<=[\p{L}\p{N}])-(?![\p{L}\p{N}-])|(?<=\d)[-.,:/'\u066b\u066c](?=\d)|[%\u2030\u2031\u066a&@#*_/\\§¶†‡]|[^\p{P}\s])+"
)
_DASHES = str.maketrans(dict.fromkeys("\u2010\u2011\u2012\u2013\u2212", "-"))
_INVISIBLE = re.compile(r"[\u00ad\u200b\u200e\u200f\u202a-\u202e\u2060\u2066-\u2069\ufe00-\ufe0f\ufeff]")


def _words(text: str) -> list[str]:
    words: list[str] = _WORD.findall(_fold(_INVISIBLE.sub("", text)).translate(_DASHES))
    return words


def _same_number(a: Any, b: Any, node: SchemaNode, depth: int) -> bool | None:
    x, y = _to_number(a), _to_number(b)
    if x is None or y is None:
        return None
    return x == y or math.isclose(x, y, rel_tol=1e-6, abs_tol=1e-9)


def _to_number(value: Any) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    if isinstance(value, str) and not re.fullmatch(r"\s*[-+]?\d{1,300}(\.\d{1,300})?([eE][-+]?\d{1,2})?\s*", value):
        return None
    try:
        return float(value)
    except OverflowError:
        return None


def _same_date(a: Any, b: Any, node: SchemaNode, depth: int) -> bool | None:
    x, y = _to_moment(a), _to_moment(b)
    if x is None or y is None:
        return None
    return x == y


_DATE = re.compile(r"\d{4}-\d{2}-\d{2}|\d{8}(?!\d)|\d{4}-?W\d{2}-?\d")


def _to_moment(value: Any) -> datetime | date | time | None:
    """An ISO 8601 date, time, or both. Midnight is not the same as a date without a time.

    A date has all its parts and a time has a colon: "2026" is a year, but also how ISO 8601 writes 20:26.
    """
    if not isinstance(value, str) or not (":" in value or _DATE.match(value.strip())):
        return None
    for read in (date.fromisoformat, datetime.fromisoformat, time.fromisoformat):
        try:
            return read(value.strip())
        except ValueError:
            continue
    return None


def _same_set(a: Any, b: Any, node: SchemaNode, depth: int) -> bool | None:
    if not (isinstance(a, list) and isinstance(b, list)):
        return None
    # Each pair is compared once: twice would double the work at every level of sets within sets.
    item = node.item()
    found = [[_equal(x, y, item, depth + 1) for y in b] for x in a]
    return all(map(any, found)) and (bool(a) or not b) and all(map(any, zip(*found, strict=True)))


_COMPARATORS: Mapping[Comparator, Callable[[Any, Any, SchemaNode, int], bool | None]] = {
    "casefold": _same_casefold,
    "date": _same_date,
    "number": _same_number,
    "set": _same_set,
    "text": _same_text,
}
