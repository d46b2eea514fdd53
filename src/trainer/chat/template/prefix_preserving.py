"""Prove from a template's source that it preserves prefixes: more messages never change the text before them.

This holds if the template goes through the messages once, never looks ahead, and ends with text that does
not depend on them. Then it writes the first k messages the same way in every longer conversation. If the
source does not show this, nothing is claimed. Renders nothing.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import TypeVar

from jinja2 import nodes

# Attributes of `loop` that do not look ahead.
NOT_AHEAD = {"first", "index", "index0", "previtem", "cycle"}
# Statements that run code of other templates, or write text in another place.
OPAQUE = (nodes.Include, nodes.Import, nodes.FromImport, nodes.Extends, nodes.Block)

Kind = TypeVar("Kind", bound=nodes.Node)


def preserves_prefixes(tree: nodes.Template) -> bool:
    """Return whether the source proves that appending messages never changes the text before them.

    False means "not shown". Required: exactly one loop over the messages, at the top level. Outside it, only
    `messages[0]` is read. The loop never looks ahead. `add_generation_prompt` occurs only after the loop, and
    the text there depends on nothing but the template arguments.
    """
    aliases = _aliases(tree)
    loops = [node for node in tree.body if isinstance(node, nodes.For) and _n_suffix_uses(node.iter, aliases)]
    if len(loops) != 1 or any(True for _ in tree.find_all(OPAQUE)):
        return False
    (loop,) = loops
    tail = tree.body[tree.body.index(loop) + 1 :]
    uses = sum(name.name in aliases and name.ctx == "load" for name in tree.find_all(nodes.Name))
    return (
        not (loop.else_ or loop.test or loop.recursive)
        and uses == _n_suffix_uses(loop.iter, aliases) + _n_harmless_uses(tree, aliases)
        and all(_never_looks_ahead(node) for node in loop.body)
        and _ends_the_same(tail, tree, aliases)
    )


def _aliases(tree: nodes.Template) -> set[str]:
    """Return `messages` and the names that only ever mean it, or its rest from a fixed message on."""
    aliases = {"messages"}
    stores = Counter(name.name for name in tree.find_all(nodes.Name) if name.ctx != "load")
    values: dict[str, list[nodes.Node]] = {}
    for assign in tree.find_all(nodes.Assign):
        if isinstance(assign.target, nodes.Name):
            values.setdefault(assign.target.name, []).append(assign.node)
    for name, given in values.items():
        if len(given) == stores[name] and all(_n_suffix_uses(value, aliases) for value in given):
            aliases.add(name)
        else:
            aliases.discard(name)
    return aliases if stores["messages"] == len(values.get("messages", ())) else set()


def _n_suffix_uses(value: nodes.Node, aliases: set[str]) -> int:
    """Return how often an expression names the messages if it means all of them from a fixed one on, else 0."""
    if isinstance(value, nodes.CondExpr) and value.expr2 is not None:
        branches = [_n_suffix_uses(value.expr1, aliases), _n_suffix_uses(value.expr2, aliases)]
        return sum(branches) if all(branches) else 0
    if isinstance(value, nodes.Getitem) and isinstance(value.arg, nodes.Slice):
        start = value.arg.start
        fixed = start is None or (isinstance(start, nodes.Const) and type(start.value) is int and start.value >= 0)
        return _n_suffix_uses(value.node, aliases) if fixed and value.arg.stop is None and value.arg.step is None else 0
    return int(isinstance(value, nodes.Name) and value.name in aliases)


def _n_harmless_uses(tree: nodes.Template, aliases: set[str]) -> int:
    """Return how often the messages are named to give them another name, or to read the first of them."""
    named = [assign for assign in tree.find_all(nodes.Assign) if isinstance(assign.target, nodes.Name)]
    firsts = [
        item.node.name
        for item in tree.find_all(nodes.Getitem)
        if isinstance(item.node, nodes.Name) and isinstance(item.arg, nodes.Const) and item.arg.value == 0
    ]
    # The first of the rest, `messages[1:][0]`, may not exist in a shorter prompt.
    is_renamed = any(assign.target.name == "messages" for assign in named)  # type: ignore[attr-defined]
    aliased = [assign.node for assign in named if assign.target.name in aliases]  # type: ignore[attr-defined]
    return sum(_n_suffix_uses(value, aliases) for value in aliased) + (0 if is_renamed else firsts.count("messages"))


def _never_looks_ahead(node: nodes.Node) -> bool:
    """Return whether code inside the loop never looks ahead. `loop` in an inner loop is the inner loop's own."""
    if isinstance(node, nodes.For):
        return all(map(_never_looks_ahead, [node.iter, *node.else_]))
    if isinstance(node, nodes.Getattr) and isinstance(node.node, nodes.Name) and node.node.name == "loop":
        return node.attr in NOT_AHEAD
    if isinstance(node, nodes.Name) and node.name == "loop":
        return False
    return all(map(_never_looks_ahead, node.iter_child_nodes()))


def _ends_the_same(tail: Sequence[nodes.Node], tree: nodes.Template, aliases: set[str]) -> bool:
    """Return whether the text after the loop needs only template arguments, and only it `add_generation_prompt`."""
    varying = aliases | {"tools", "documents"}
    varying |= {name.name for name in tree.find_all(nodes.Name) if name.ctx != "load"}
    varying |= {name.name for name in tree.find_all(nodes.NSRef)}
    names = [name.name for node in tail for name in _within(node, nodes.Name)]
    calls = any(True for node in tail for _ in _within(node, nodes.Call))
    flags = sum(name.name == "add_generation_prompt" for name in tree.find_all(nodes.Name))
    return not calls and varying.isdisjoint(names) and flags == names.count("add_generation_prompt")


def _within(node: nodes.Node, kind: type[Kind]) -> Iterator[Kind]:
    """Yield the nodes of this kind in a subtree, including its root."""
    if isinstance(node, kind):
        yield node
    yield from node.find_all(kind)
