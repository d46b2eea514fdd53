"""Pair the calls that a turn should make with the calls that it makes: one to one, free of order, optimal."""

from collections import defaultdict
from collections.abc import Sequence
from typing import NamedTuple

from trainer.tools.equality import PathCounts, count_paths, equal, n_paths
from trainer.tools.schema import SchemaNode
from trainer.tools.validation import ToolSpecs
from trainer.types import Call


class Pair(NamedTuple):
    """A gold call and the predicted call of the same name that stands for it, by their positions."""

    gold: int
    predicted: int
    exact: bool
    paths: PathCounts


def match_calls(gold: Sequence[Call], predicted: Sequence[Call], specs: ToolSpecs) -> list[Pair]:
    """Pair calls of the same name so that as many pairs as possible are exact, then as similar as possible.

    The assignment is optimal (Kuhn 1955, by `scipy.optimize.linear_sum_assignment`), because a greedy one can
    spend a call on the wrong partner where a comparator lets it fit two.
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
    wanted, given = gold[at[0]].arguments, predicted[at[1]].arguments
    return Pair(*at, exact=equal(wanted, given, node), paths=count_paths(wanted, given, node))


def _best(table: list[list[Pair]]) -> list[Pair]:
    if not table or not table[0]:
        return []
    if len(table) == 1:
        return [max(table[0], key=_weight)]
    if len(table[0]) == 1:
        return [max((row[0] for row in table), key=_weight)]
    from scipy.optimize import linear_sum_assignment  # a second to import, and rarely needed

    rows, columns = linear_sum_assignment([[_weight(pair) for pair in row] for row in table], maximize=True)
    return [table[row][column] for row, column in zip(rows, columns, strict=True)]


def _weight(pair: Pair) -> float:
    """An exact pair outweighs any similarity that the other pairs of the turn could have together."""
    n_paths_seen = pair.paths.gold + pair.paths.predicted
    similarity = 2 * pair.paths.equal / n_paths_seen if n_paths_seen else 1.0
    return similarity + (1e6 if pair.exact else 0.0)


def all_paths(
    gold: Sequence[Call], predicted: Sequence[Call], pairs: Sequence[Pair], *, specs: ToolSpecs
) -> PathCounts:
    """The paths of a whole turn: those of its pairs, and those of the calls that found no partner."""
    total = PathCounts()
    for pair in pairs:
        total = total.plus(pair.paths)
    alone_gold = set(range(len(gold))) - {pair.gold for pair in pairs}
    alone_predicted = set(range(len(predicted))) - {pair.predicted for pair in pairs}
    return total.plus(
        PathCounts(
            gold=sum(n_paths(gold[i].arguments, specs.node(gold[i].name)) for i in alone_gold),
            predicted=sum(n_paths(predicted[i].arguments, specs.node(predicted[i].name)) for i in alone_predicted),
        )
    )
