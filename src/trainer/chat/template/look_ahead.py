"""Whether a template's loop over the messages looks at later messages, and whether an answer there makes a difference.

Many templates close a block of tool results with `loop.last or messages[loop.index0 + 1].role != "tool"`. That looks
ahead, but gives the same at the end of a serving prompt as before an answer. Such tests are worked out for both cases
and allowed if they agree. Renders nothing.
"""

from collections.abc import Iterable
from typing import NamedTuple

from jinja2 import nodes

# Attributes of `loop` that do not look ahead.
_NOT_AHEAD = {"first", "index", "index0", "previtem", "cycle"}
_BOOLEAN = (nodes.And, nodes.Or, nodes.Not, nodes.Compare, nodes.Test, nodes.Getattr)


class _Case(NamedTuple):
    """Whether a message is at the end of a serving prompt, or before an answer."""

    is_last: bool


_CASES = (_Case(is_last=True), _Case(is_last=False))


class LookAhead:
    """Judges the body of the loop over the messages. `lists` are the names that index like the loop's own list."""

    def __init__(self, lists: Iterable[str]) -> None:
        self._lists = frozenset(lists)

    def is_harmless(self, node: nodes.Node) -> bool:
        """Return whether code inside the loop gives the same before an answer as at the end of a prompt.

        `loop` in an inner loop is the inner loop's own.
        """
        if isinstance(node, nodes.For):
            inner = [item for part in (node.test, *node.body) if part is not None for item in _items(part)]
            is_read = any(self._offset(item) is not None for item in inner)
            return not is_read and all(map(self.is_harmless, [node.iter, *node.else_]))
        if isinstance(node, _BOOLEAN) and self._agrees(node):
            return True
        if isinstance(node, nodes.Or | nodes.And) and self._is_guarded(node):
            return True
        if isinstance(node, nodes.Getattr) and _is_loop(node.node):
            return node.attr in _NOT_AHEAD
        if _is_loop(node) or (isinstance(node, nodes.Getitem) and self._offset(node) is not None):
            return False
        return all(map(self.is_harmless, node.iter_child_nodes()))

    def _agrees(self, node: nodes.Node) -> bool:
        """Return whether a test looks ahead and has one certain result, the same in both cases."""
        results = {self._result(node, case) for case in _CASES}
        return len(results) == 1 and None not in results

    def _is_guarded(self, node: nodes.Or | nodes.And) -> bool:
        """Return whether a test reads the message before, after making sure that there is one."""
        offsets = {offset for item in _items(node.right) if (offset := self._offset(item)) is not None}
        is_ahead = any(map(_is_ahead, nodes.Output([node.right]).find_all(nodes.Getattr)))
        return offsets == {-1} and not is_ahead and _rules_out_first(node)

    def _result(self, node: nodes.Node, case: _Case) -> bool | None:
        """Return the result of a test for a message before an answer or at the end; None if it is not certain."""
        if isinstance(node, nodes.Not):
            inner = self._result(node.node, case)
            return None if inner is None else not inner
        if isinstance(node, nodes.Or | nodes.And):
            decisive = isinstance(node, nodes.Or)
            left, right = self._result(node.left, case), self._result(node.right, case)
            if decisive in (left, right):
                return decisive
            return None if None in (left, right) else not decisive
        if isinstance(node, nodes.Getattr) and _is_loop(node.node) and node.attr == "last":
            return case.is_last
        if isinstance(node, nodes.Test) and node.name == "defined" and self._is_next(node.node):
            return not case.is_last
        if isinstance(node, nodes.Compare) and len(node.ops) == 1 and not case.is_last:
            return self._compared(node)
        return None

    def _compared(self, node: nodes.Compare) -> bool | None:
        """Return the result of comparing the role of the next message, an answer, with a constant."""
        operand, role = node.ops[0], node.expr
        key = role.attr if isinstance(role, nodes.Getattr) else _constant(role)
        value = operand.expr.value if isinstance(operand.expr, nodes.Const) else None
        if key != "role" or value is None or not self._is_next(role.node):  # type: ignore[attr-defined]
            return None
        return {"eq": value == "assistant", "ne": value != "assistant"}.get(operand.op)

    def _is_next(self, node: nodes.Node) -> bool:
        """Return whether an expression means the next message."""
        if isinstance(node, nodes.Getattr) and _is_loop(node.node):
            return node.attr == "nextitem"
        return isinstance(node, nodes.Getitem) and self._offset(node) == 1

    def _offset(self, node: nodes.Getitem) -> int | None:
        """Return how far an item of the list is from the current one; 99 if unknown; None for other lists."""
        if not isinstance(node.node, nodes.Name) or node.node.name not in self._lists:
            return None
        index = node.arg
        if isinstance(index, nodes.Const) and type(index.value) is int and index.value >= 0:
            return None
        if isinstance(index, nodes.Slice):
            return None
        base = {"index0": 0, "index": 1}
        step = 0
        if isinstance(index, nodes.Add | nodes.Sub) and isinstance(index.right, nodes.Const):
            step = index.right.value if isinstance(index, nodes.Add) else -index.right.value
            index = index.left
        if isinstance(index, nodes.Getattr) and _is_loop(index.node) and index.attr in base:
            return base[index.attr] + int(step)
        return 99


def _constant(node: nodes.Node) -> object:
    is_key = isinstance(node, nodes.Getitem) and isinstance(node.arg, nodes.Const)
    return node.arg.value if is_key else None  # type: ignore[attr-defined]


def _is_loop(node: nodes.Node) -> bool:
    return isinstance(node, nodes.Name) and node.name == "loop"


def _is_ahead(node: nodes.Getattr) -> bool:
    return _is_loop(node.node) and node.attr not in _NOT_AHEAD


def _items(node: nodes.Node) -> list[nodes.Getitem]:
    return [*node.find_all(nodes.Getitem), *([node] if isinstance(node, nodes.Getitem) else [])]


def _rules_out_first(node: nodes.Or | nodes.And) -> bool:
    """Return whether the right side of a test is only reached after the first message."""
    left = node.left
    if isinstance(node, nodes.And) and isinstance(left, nodes.Not):
        return _is_attribute(left.node, "first")
    if isinstance(node, nodes.Or) and _is_attribute(left, "first"):
        return True
    if not isinstance(left, nodes.Compare) or len(left.ops) != 1 or not isinstance(left.ops[0].expr, nodes.Const):
        return False
    first = 0 if _is_attribute(left.expr, "index0") else 1 if _is_attribute(left.expr, "index") else None
    operator, value = left.ops[0].op, left.ops[0].expr.value
    if isinstance(node, nodes.Or):
        return first is not None and (operator, value) == ("eq", first)
    return first is not None and (operator, value) in {("gt", first), ("ne", first), ("gteq", first + 1)}


def _is_attribute(node: nodes.Node, name: str) -> bool:
    return isinstance(node, nodes.Getattr) and _is_loop(node.node) and node.attr == name
