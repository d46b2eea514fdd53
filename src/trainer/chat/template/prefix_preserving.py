"""Prove from a template's source that it preserves prefixes: more messages never change the text before them.

This holds if the template goes through the messages once, never lets later messages change what it writes, and ends
with text that does not depend on them. Then it writes the first k messages the same way in every longer conversation.
If the source does not show this, nothing is claimed. Renders nothing.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import TypeVar

from jinja2 import nodes

from trainer.chat.template.look_ahead import LookAhead

# Statements that run code of other templates, or write text in another place.
OPAQUE = (nodes.Include, nodes.Import, nodes.FromImport, nodes.Extends, nodes.Block)

Kind = TypeVar("Kind", bound=nodes.Node)


def message_loop(tree: nodes.Template) -> nodes.For | None:
    """Return the only loop over the messages at the top level, or None."""
    aliases = _aliases(tree)
    loops = [node for node in tree.body if isinstance(node, nodes.For) and _n_suffix_uses(node.iter, aliases)]
    return loops[0] if len(loops) == 1 else None


def preserved_from(tree: nodes.Template) -> int | None:
    """Return the number of messages from which on the source proves that more of them never change the text before.

    The border is between the end of a serving prompt and an answer. None means "not shown". Required: exactly one loop
    over the messages, at the top level. Outside it, only the first messages are read, and they must all be in the
    prompt: their number is returned. `add_generation_prompt` occurs only after the loop, and the text there depends on
    nothing but the template arguments.
    """
    aliases = _aliases(tree)
    loop = message_loop(tree)
    if loop is None or any(True for _ in tree.find_all(OPAQUE)) or loop.else_ or loop.test or loop.recursive:
        return None
    if not isinstance(loop.target, nodes.Name):
        return None
    tail = tree.body[tree.body.index(loop) + 1 :]
    # Indices count from the start of the list that the loop goes through.
    lists = {loop.iter.name} if isinstance(loop.iter, nodes.Name) else set()
    ahead = LookAhead(lists)
    in_body = sum(_n_item_uses(node, lists) for node in loop.body)
    uses = sum(name.name in aliases and name.ctx == "load" for name in tree.find_all(nodes.Name))
    known = _n_suffix_uses(loop.iter, aliases) + in_body + _n_harmless_uses(tree, aliases)
    if uses != known or not all(map(ahead.is_harmless, loop.body)) or not _ends_the_same(tail, tree, aliases):
        return None
    return _n_leading(tree, aliases)


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
        return _n_suffix_uses(value.node, aliases) if _slice_start(value.arg) is not None else 0
    return int(isinstance(value, nodes.Name) and value.name in aliases)


def _slice_start(part: nodes.Slice) -> int | None:
    """Return where a slice begins if it is a fixed place and the slice goes to the end."""
    if part.stop is not None or part.step is not None:
        return None
    if part.start is None:
        return 0
    is_fixed = isinstance(part.start, nodes.Const) and type(part.start.value) is int and part.start.value >= 0
    return part.start.value if is_fixed else None  # type: ignore[attr-defined]


def _n_harmless_uses(tree: nodes.Template, aliases: set[str]) -> int:
    """Return how often the messages are named to give them another name, to read a first one, or to see if one is."""
    named = [assign for assign in tree.find_all(nodes.Assign) if isinstance(assign.target, nodes.Name)]
    aliased = [assign.node for assign in named if assign.target.name in aliases]  # type: ignore[attr-defined]
    firsts = sum(_leading_index(item, aliases) is not None for item in tree.find_all(nodes.Getitem))
    lengths = sum(_asks_for_any(compare, aliases) for compare in tree.find_all(nodes.Compare))
    return sum(_n_suffix_uses(value, aliases) for value in aliased) + firsts + lengths


def _leading_index(item: nodes.Getitem, aliases: set[str]) -> int | None:
    """Return the fixed index if an expression reads one of the first messages."""
    is_alias = isinstance(item.node, nodes.Name) and item.node.name in aliases
    index = item.arg.value if isinstance(item.arg, nodes.Const) else None
    return index if is_alias and type(index) is int and index >= 0 else None


def _asks_for_any(compare: nodes.Compare, aliases: set[str]) -> bool:
    """Return whether a test compares the number of messages with zero."""
    is_length = isinstance(compare.expr, nodes.Filter) and compare.expr.name in ("length", "count")
    named = compare.expr.node if is_length else None  # type: ignore[attr-defined]
    is_zero = len(compare.ops) == 1 and isinstance(compare.ops[0].expr, nodes.Const) and compare.ops[0].expr.value == 0
    return isinstance(named, nodes.Name) and named.name in aliases and is_zero


def _n_leading(tree: nodes.Template, aliases: set[str]) -> int:
    """Return how many messages a template may read before its loop: those that it takes off, and the furthest read."""
    slices = [item.arg for item in tree.find_all(nodes.Getitem) if isinstance(item.arg, nodes.Slice)]
    taken = sum(_slice_start(part) or 0 for part in slices)
    read = [_leading_index(item, aliases) for item in tree.find_all(nodes.Getitem)]
    return taken + max((index + 1 for index in read if index is not None), default=0)


def _n_item_uses(node: nodes.Node, lists: set[str]) -> int:
    """Return how often code reads a message at an index that is worked out; `LookAhead` judges which one."""
    items = [*node.find_all(nodes.Getitem), *([node] if isinstance(node, nodes.Getitem) else [])]
    computed = [item for item in items if not isinstance(item.arg, nodes.Const | nodes.Slice)]
    return sum(isinstance(item.node, nodes.Name) and item.node.name in lists for item in computed)


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
    if isinstance(node, kind):
        yield node
    yield from node.find_all(kind)
