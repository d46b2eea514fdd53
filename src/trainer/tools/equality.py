"""Decide whether two argument values mean the same, and count the JSON paths that they share.

Typed by default; looser only where the tool's schema asks with `x-compare`. Knows no calls and no metrics.
"""

import math
import re
import unicodedata
from collections.abc import Callable, Mapping
from datetime import date, datetime, time
from typing import Any, NamedTuple

from trainer.tools.schema import ANYTHING, MISSING, Comparator, SchemaNode


def equal(a: Any, b: Any, node: SchemaNode = ANYTHING) -> bool:
    """Whether two JSON values are the same argument value, given the place `node` in the tool's schema.

    1 equals 1.0, True does not equal 1, "5" does not equal 5, key order is free, array order counts. A member that
    one side omits counts as its schema default. Where the schema says `x-compare`, that comparator decides
    instead; on values of a kind that it does not know, the typed comparison does.

    >>> equal({"n": 1, "tags": ["a"]}, {"tags": ["a"], "n": 1.0})
    True
    >>> equal(True, 1)
    False
    """
    comparator = node.comparator
    if comparator is not None:
        verdict = _COMPARATORS[comparator](a, b, node)
        if verdict is not None:
            return verdict
    if isinstance(a, dict) and isinstance(b, dict):
        return all(
            equal(_member(a, key, node), _member(b, key, node), node.property(key)) for key in a.keys() | b.keys()
        )
    if isinstance(a, list) and isinstance(b, list):
        item = node.item()
        return len(a) == len(b) and all(equal(x, y, item) for x, y in zip(a, b, strict=True))
    if isinstance(a, bool) or isinstance(b, bool):
        return a is b
    return bool(a == b)


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
    comparator of its own. A member that only one side writes down counts for both when it has a default.
    """
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
        if _is_leaf(g, member) and _is_leaf(p, member):
            total = total.plus(PathCounts(1, 1, 1, int(equal(g, p, member))))
        elif not _is_leaf(g, member) and not _is_leaf(p, member) and type(g) is type(p):
            total = total.plus(count_paths(g, p, member))
        else:
            total = total.plus(PathCounts(gold=_n_leaves(g, member), predicted=_n_leaves(p, member)))
    return total


def n_paths(arguments: dict[str, Any], node: SchemaNode = ANYTHING) -> int:
    """The number of paths of one arguments object."""
    return sum(_n_leaves(value, node.property(key)) for key, value in arguments.items())


def _is_leaf(value: Any, node: SchemaNode) -> bool:
    if value is MISSING:
        return False
    return node.comparator is not None or not isinstance(value, dict | list) or not value


def _n_leaves(value: Any, node: SchemaNode) -> int:
    if value is MISSING:
        return 0
    if _is_leaf(value, node):
        return 1
    if isinstance(value, dict):
        return sum(_n_leaves(inner, node.property(key)) for key, inner in value.items())
    return sum(_n_leaves(inner, node.item()) for inner in value)


def _same_casefold(a: Any, b: Any, node: SchemaNode) -> bool | None:
    if isinstance(a, str) and isinstance(b, str):
        return _fold(a) == _fold(b)
    return None


def _fold(text: str) -> str:
    return unicodedata.normalize("NFC", unicodedata.normalize("NFKC", text).casefold())


def _same_text(a: Any, b: Any, node: SchemaNode) -> bool | None:
    if isinstance(a, str) and isinstance(b, str):
        return re.findall(r"\w+", _fold(a)) == re.findall(r"\w+", _fold(b))
    return None


def _same_number(a: Any, b: Any, node: SchemaNode) -> bool | None:
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


def _same_date(a: Any, b: Any, node: SchemaNode) -> bool | None:
    x, y = _to_moment(a), _to_moment(b)
    if x is None or y is None:
        return None
    return x == y


def _to_moment(value: Any) -> datetime | date | time | None:
    """An ISO 8601 date, time, or both. Midnight is not the same as a date without a time."""
    if not isinstance(value, str):
        return None
    for read in (date.fromisoformat, datetime.fromisoformat, time.fromisoformat):
        try:
            return read(value.strip())
        except ValueError:
            continue
    return None


def _same_set(a: Any, b: Any, node: SchemaNode) -> bool | None:
    if not (isinstance(a, list) and isinstance(b, list)):
        return None
    item = node.item()
    return all(any(equal(x, y, item) for y in b) for x in a) and all(any(equal(x, y, item) for x in a) for y in b)


_COMPARATORS: Mapping[Comparator, Callable[[Any, Any, SchemaNode], bool | None]] = {
    "casefold": _same_casefold,
    "date": _same_date,
    "number": _same_number,
    "set": _same_set,
    "text": _same_text,
}
