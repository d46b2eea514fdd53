"""Compare two arguments objects path by path, for people who want to see what differs. Counts nothing.

`trainer.tools.equality` decides what is equal; a call is equal exactly if no path here differs.
"""

from collections.abc import Iterator
from typing import Any, Literal, NamedTuple

from trainer.tools.equality import equal
from trainer.tools.schema import ANYTHING, MAX_DEPTH, MISSING, SchemaNode

PathKind = Literal["same", "other_value", "wrong_type", "missing", "additional"]
"""How a path of the predicted arguments compares with gold."""


class ComparedPath(NamedTuple):
    """A path such as `filter.makes[0]` with both values; MISSING on a side that does not have it."""

    path: str
    kind: PathKind
    gold: Any
    predicted: Any


def compared_paths(gold: Any, predicted: Any, node: SchemaNode = ANYTHING) -> list[ComparedPath]:
    """Return every path of two arguments objects, in the order of gold, then what only the prediction has.

    A path runs down to a scalar, an empty container, a value with a comparator of its own, or to where the two sides
    are of different kinds. A member that one side omits has its schema default.

    >>> [(p.path, p.kind) for p in compared_paths({"a": 1, "b": {"c": "x"}}, {"b": {"c": "y"}, "d": 2})]
    [('a', 'missing'), ('b.c', 'other_value'), ('d', 'additional')]
    """
    return list(_compared("", gold, predicted, node, 0))


def _compared(path: str, gold: Any, predicted: Any, node: SchemaNode, depth: int) -> Iterator[ComparedPath]:
    goes_on = depth <= MAX_DEPTH and (depth == 0 or node.comparator is None)
    if depth == 0 or (goes_on and _both(dict, gold, predicted)):
        for key in (*gold, *(key for key in predicted if key not in gold)):
            inner = f"{path}.{key}" if path else str(key)
            ours, theirs = (value[key] if key in value else node.default(key) for value in (gold, predicted))
            yield from _compared(inner, ours, theirs, node.property(key), depth + 1)
    elif goes_on and _both(list, gold, predicted):
        for index in range(max(len(gold), len(predicted))):
            ours, theirs = (value[index] if index < len(value) else MISSING for value in (gold, predicted))
            yield from _compared(f"{path}[{index}]", ours, theirs, node.item(), depth + 1)
    elif gold is not MISSING or predicted is not MISSING:
        yield ComparedPath(path, _kind(gold, predicted, node), gold, predicted)


def _both(kind: type, a: Any, b: Any) -> bool:
    return isinstance(a, kind) and isinstance(b, kind) and bool(a) and bool(b)


def _kind(gold: Any, predicted: Any, node: SchemaNode) -> PathKind:
    if gold is MISSING:
        return "additional"
    if predicted is MISSING:
        return "missing"
    if equal(gold, predicted, node):
        return "same"
    return "other_value" if _json_type(gold) == _json_type(predicted) else "wrong_type"


def _json_type(value: Any) -> str:
    if isinstance(value, bool) or value is None:
        return type(value).__name__
    return "number" if isinstance(value, int | float) else type(value).__name__
