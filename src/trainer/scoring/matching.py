"""Pair the gold calls of a turn with its predicted calls: one to one, in any order, by an optimal assignment."""

from collections import defaultdict
from collections.abc import Sequence
from typing import Any, NamedTuple

from trainer.tools.equality import PathCounts, count_paths, equal, n_paths
from trainer.tools.schema import SchemaNode
from trainer.tools.validation import ToolSpecs
from trainer.types import AcceptedCall, Call


class Pair(NamedTuple):
    """A gold call and the predicted call of the same name that is matched with it, by index."""

    gold: int
    predicted: int
    exact: bool
    paths: PathCounts


def match_calls(gold: Sequence[Call], predicted: Sequence[Call], specs: ToolSpecs) -> list[Pair]:
    """Pair calls of the same name, with as many exact pairs as possible, then as similar as possible.

    The assignment is optimal (Kuhn 1955, with `scipy.optimize.linear_sum_assignment`). A greedy one can use up a
    call on the wrong partner when a comparator lets it match two.
    """
    by_name: dict[str, tuple[list[int], list[int]]] = defaultdict(lambda: ([], []))
    for side, calls in enumerate((gold, predicted)):
        for index, call in enumerate(calls):
            by_name[call.name][side].append(index)
    pairs: list[Pair] = []
    for name, (rows, columns) in by_name.items():
        node = specs.node(name)
        table = [[_pair(gold, predicted, (row, column), node) for column in columns] for row in rows]
        pairs.extend(_best(table))
    return pairs


def _pair(gold: Sequence[Call], predicted: Sequence[Call], at: tuple[int, int], node: SchemaNode) -> Pair:
    found = predicted[at[1]].arguments
    expected = expected_arguments(gold[at[0]], found, node)
    return Pair(*at, exact=equal(expected, found, node), paths=count_paths(expected, found, node))


def expected_arguments(gold: Call, found: dict[str, Any], node: SchemaNode) -> dict[str, Any]:
    """The gold arguments; for an accepted call, in the form that it accepts and that is closest to the found ones."""
    if not isinstance(gold, AcceptedCall):
        return gold.arguments
    expected = {key: value for key, value in gold.arguments.items() if key in found or key not in gold.optional}
    for key, values in gold.values.items():
        place = node.property(key)
        if key in found and not (key in expected and equal(expected[key], found[key], place)):
            fitting = [value for value in values if equal(value, found[key], place)]
            expected |= {key: fitting[0]} if fitting else {}
    return expected


def _best(table: list[list[Pair]]) -> list[Pair]:
    if not table or not table[0]:
        return []
    if len(table) == 1:
        return [max(table[0], key=_weight)]
    if len(table[0]) == 1:
        return [max((row[0] for row in table), key=_weight)]
    from scipy.optimize import linear_sum_assignment  # takes a second to import and is rarely needed

    rows, columns = linear_sum_assignment([[_weight(pair) for pair in row] for row in table], maximize=True)
    return [table[row][column] for row, column in zip(rows, columns, strict=True)]


def _weight(pair: Pair) -> float:
    """The weight of a pair: an exact one outweighs the total similarity of all other pairs of the turn."""
    n_in_both = pair.paths.gold + pair.paths.predicted
    similarity = 2 * pair.paths.equal / n_in_both if n_in_both else 1.0
    return similarity + (1e6 if pair.exact else 0.0)


def all_paths(
    gold: Sequence[Call], predicted: Sequence[Call], pairs: Sequence[Pair], *, specs: ToolSpecs
) -> PathCounts:
    """The path counts of a whole turn: those of its pairs and those of its unmatched calls."""
    total = PathCounts()
    for pair in pairs:
        total = total.plus(pair.paths)
    unmatched_gold = set(range(len(gold))) - {pair.gold for pair in pairs}
    unmatched = set(range(len(predicted))) - {pair.predicted for pair in pairs}
    return total.plus(
        PathCounts(
            gold=sum(n_paths(gold[i].arguments, specs.node(gold[i].name)) for i in unmatched_gold),
            predicted=sum(n_paths(predicted[i].arguments, specs.node(predicted[i].name)) for i in unmatched),
        )
    )
