"""Prove from a template's source that it writes messages in order, and render it once with marks.

A template that goes through the messages once, looks at nothing ahead, and ends with text that does not
depend on them, writes the first k messages the same way whatever follows. Then one rendering holds every
prompt and every turn of a conversation. Where the source does not show this, nothing is claimed.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from jinja2 import nodes

from trainer.chat.render import FAILURES, Renderer, RenderError
from trainer.types import Message

# What a loop may ask about itself without looking ahead.
BACKWARD = {"first", "index", "index0", "previtem", "cycle"}
# Statements that run code of other templates, or show text somewhere else than in place.
OPAQUE = (nodes.Include, nodes.Import, nodes.FromImport, nodes.Extends, nodes.Block)


def writes_in_order(tree: nodes.Template) -> bool:
    """Whether the source proves that appending messages never changes what was written before them.

    False means "not shown". Required: exactly one loop over the messages, at the top level; besides it only
    `messages[0]` is read; the loop asks for nothing ahead; `add_generation_prompt` and the text behind the
    loop depend on the template's arguments alone.
    """
    loops = [node for node in tree.body if isinstance(node, nodes.For)]
    aliases = _aliases(tree)
    main = [loop for loop in loops if isinstance(loop.iter, nodes.Name) and loop.iter.name in aliases]
    if len(main) != 1 or any(True for _ in tree.find_all(OPAQUE)):
        return False
    (loop,) = main
    tail = tree.body[tree.body.index(loop) + 1 :]
    return (
        not loop.else_
        and loop.test is None
        and not loop.recursive
        and _message_uses(tree, aliases) == 1 + _allowed_uses(tree, aliases)
        and all(_looks_back(node) for node in loop.body)
        and _is_constant(tail, tree)
    )


def _aliases(tree: nodes.Template) -> set[str]:
    """`messages`, and the names that only ever stand for it or for its rest from a fixed message on."""
    aliases = {"messages"}
    assigned = [node for node in tree.find_all(nodes.Assign) if isinstance(node.target, nodes.Name)]
    values: dict[str, list[nodes.Expr]] = {}
    for node in assigned:
        values.setdefault(node.target.name, []).append(node.node)  # type: ignore[attr-defined]
    for name, given in values.items():
        if all(_is_rest(value, aliases) for value in given):
            aliases.add(name)
        elif name == "messages":
            return set()
    return aliases


def _is_rest(value: nodes.Expr, aliases: set[str]) -> bool:
    if isinstance(value, nodes.Getitem) and isinstance(value.arg, nodes.Slice):
        part = value.arg
        start = part.start
        fixed = start is None or (isinstance(start, nodes.Const) and type(start.value) is int and start.value >= 0)
        return fixed and part.stop is None and part.step is None and _is_rest(value.node, aliases)
    return isinstance(value, nodes.Name) and value.name in aliases


def _message_uses(tree: nodes.Template, aliases: set[str]) -> int:
    return sum(node.name in aliases and node.ctx == "load" for node in tree.find_all(nodes.Name))


def _allowed_uses(tree: nodes.Template, aliases: set[str]) -> int:
    """Uses that show nothing ahead: giving the rest another name, and reading the first message."""
    named = sum(
        isinstance(node.target, nodes.Name) and node.target.name in aliases for node in tree.find_all(nodes.Assign)
    )
    first = sum(
        isinstance(node.node, nodes.Name)
        and node.node.name == "messages"
        and isinstance(node.arg, nodes.Const)
        and node.arg.value == 0
        for node in tree.find_all(nodes.Getitem)
    )
    # After `messages = messages[1:]` the first message is another one, which a shorter prompt may not have.
    renamed = any(
        isinstance(node.target, nodes.Name) and node.target.name == "messages"
        for node in tree.find_all(nodes.Assign)
    )
    return named if renamed else named + first


def _looks_back(node: nodes.Node) -> bool:
    """Whether code inside the loop asks the loop only about what is past; inner loops are their own."""
    if isinstance(node, nodes.For):
        return all(_looks_back(part) for part in (node.target, node.iter))
    if isinstance(node, nodes.Getattr) and isinstance(node.node, nodes.Name) and node.node.name == "loop":
        return node.attr in BACKWARD
    if isinstance(node, nodes.Name) and node.name in ("loop", "add_generation_prompt"):
        return False
    return all(_looks_back(child) for child in node.iter_child_nodes())


def _is_constant(tail: Sequence[nodes.Node], tree: nodes.Template) -> bool:
    """Whether the text behind the loop depends on arguments of the template alone, the generation prompt too."""
    stored = {node.name for node in tree.find_all(nodes.Name) if node.ctx != "load"}
    stored |= {node.name for node in tree.find_all(nodes.NSRef)}
    names = [name.name for node in tail for name in _all(node, nodes.Name)]
    calls = [call for node in tail for call in _all(node, nodes.Call)]
    flags = sum(name.name == "add_generation_prompt" for name in tree.find_all(nodes.Name))
    return not calls and not stored & set(names) and flags == names.count("add_generation_prompt")


def _all(node: nodes.Node, kind: type[Any]) -> Iterator[Any]:
    if isinstance(node, kind):
        yield node
    yield from node.find_all(kind)


@dataclass(frozen=True, slots=True)
class MarkedText:
    """A rendering in which `ends[i]` is the character position behind message i, where it was written in turn."""

    text: str
    ends: Mapping[int, int]


class Tails(NamedTuple):
    """What a template that writes messages in order appends: as generation prompt, and without one."""

    prompt: str
    final: str


def find_tails(renderer: Renderer, tree: nodes.Template) -> Tails | None:
    """The template's constant tails; None where it is not proven to write messages in order.

    Also None where this module's way of rendering does not give the tokenizer's own text.
    """
    if not writes_in_order(tree):
        return None
    probe: tuple[Message, ...] = ({"role": "user", "content": "x"}, {"role": "assistant", "content": "y"})
    tails = []
    for messages, is_prompt in ((probe[:1], True), (probe, False)):
        try:
            marked = render_marked(renderer, messages, (), add_generation_prompt=is_prompt)
            usual = renderer(messages, (), add_generation_prompt=is_prompt)
        except RenderError:
            return None
        end = marked.ends.get(len(messages) - 1)
        if end is None or marked.text != usual:
            return None
        tails.append(marked.text[end:])
    return Tails(*tails)


class _Marked(list[Any]):
    """The message list as the template sees it; reports each step of the loop over it."""

    def __init__(self, items: Sequence[Any], offset: int, report: Callable[[int], None]) -> None:
        super().__init__(items)
        self.offset, self.report = offset, report

    def __iter__(self) -> Iterator[Any]:
        for index, item in enumerate(super().__iter__()):
            self.report(self.offset + index - 1)
            yield item
        self.report(self.offset + len(self) - 1)

    def __getitem__(self, key: Any) -> Any:
        found = super().__getitem__(key)
        if isinstance(key, slice):
            return _Marked(found, self.offset + (key.start or 0), self.report)
        return found


def render_marked(
    renderer: Renderer, messages: Sequence[Any], tools: Sequence[Any], *, add_generation_prompt: bool
) -> MarkedText:
    """Render canonical messages once through a template that writes them in order, marking where each ends.

    Raises:
        RenderError: the template raised.
    """
    from transformers.utils.chat_template_utils import _compile_jinja_template

    tokenizer: Any = renderer.tokenizer
    template: Any = _compile_jinja_template(tokenizer.get_chat_template(None, list(tools) or None))
    chunks: list[str] = []
    ends: dict[int, int] = {}
    written = 0

    def report(index: int) -> None:
        # The template runs only as far as its text has been taken, so everything written so far is counted.
        ends[index] = written

    arguments = {**tokenizer.special_tokens_map, **renderer.switches}
    shaped = _Marked([renderer.shape(message) for message in messages], 0, report)
    try:
        for chunk in template.generate(
            messages=shaped,
            tools=list(tools) or None,
            documents=None,
            add_generation_prompt=add_generation_prompt,
            **arguments,
        ):
            chunks.append(chunk)
            written += len(chunk)
    except FAILURES as error:
        raise RenderError(str(error) or type(error).__name__) from error
    return MarkedText("".join(chunks), ends)
