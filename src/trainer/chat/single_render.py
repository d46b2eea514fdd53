"""Render a conversation once and record where each message begins, with templates that preserve prefixes.

Then one rendering contains every prompt and every turn. `prefix_preserving` decides which templates qualify.
"""

from collections.abc import Mapping, Sequence
from datetime import date
from functools import lru_cache
from typing import Any, NamedTuple

from jinja2 import nodes

from trainer.chat.template.prefix_preserving import message_loop, preserved_from
from trainer.chat.template.render import FAILURES, Renderer, RenderError, compiled
from trainer.chat.template.source import TemplateSource
from trainer.types import Message

_MARK = "_begin_message"


class SingleRender(NamedTuple):
    """A rendered conversation. `starts[i]` is the character position at which message i begins, if the loop has it."""

    text: str
    starts: Mapping[int, int]


class Suffixes(NamedTuple):
    """What a prefix-preserving template writes after the messages: the generation prompt, or `final` without one.

    `n_leading` is the number of messages that a prompt must have for the proof to hold.
    """

    generation_prompt: str
    final: str
    n_leading: int


def find_suffixes(renderer: Renderer, source: TemplateSource, probe: Sequence[Message]) -> Suffixes | None:
    """Return what the template writes after the messages, or None if it is not proven to preserve prefixes.

    Also None if this module's way of rendering does not give the usual text. `probe` is a conversation that the
    template renders without tools, with an answer at its end.
    """
    n_leading = preserved_from(source.tree)
    if n_leading is None:
        return None
    suffixes = []
    for messages, is_prompt in ((probe[:-1], True), (probe, False)):
        try:
            rendered = render_once(renderer, messages, (), add_generation_prompt=is_prompt)
            usual = renderer(messages, (), add_generation_prompt=is_prompt)
        except RenderError:
            return None
        end = rendered.starts.get(len(messages))
        if end is None or rendered.text != usual:
            return None
        suffixes.append(rendered.text[end:])
    return Suffixes(suffixes[0], suffixes[1], n_leading)


@lru_cache
def _marked(text: str) -> Any:
    """Return a template that reports the message at every step of its loop, and None after the last."""
    environment = compiled(text).environment
    tree = environment.parse(text)
    loop = message_loop(tree)
    assert loop is not None
    assert isinstance(loop.target, nodes.Name)
    begin = _call(nodes.Name(loop.target.name, "load"))
    loop.body.insert(0, begin)
    tree.body.insert(tree.body.index(loop) + 1, _call(nodes.Const(None)))
    tree.set_environment(environment)
    code = environment.compile(tree)
    return environment.template_class.from_code(environment, code, environment.make_globals(None))


def _call(argument: nodes.Expr) -> nodes.Output:
    call = nodes.Call(nodes.Name(_MARK, "load"), [argument], [], None, None)
    return nodes.Output([call]).set_lineno(1)  # type: ignore[return-value]


def render_once(
    renderer: Renderer,
    messages: Sequence[Message],
    tools: Sequence[Any],
    *,
    add_generation_prompt: bool,
    day: date | None = None,
) -> SingleRender:
    """Render canonical messages once with a prefix-preserving template, and record where each message begins.

    `starts` also has the position after the last message.

    Raises:
        RenderError: the template raised.
    """
    shaped = renderer.shape(messages)
    index_of = {id(message): index for index, message in enumerate(shaped)} | {id(None): len(shaped)}
    chunks: list[str] = []
    starts: dict[int, int] = {}
    written = 0

    def begin(message: Any) -> str:
        # The template is a lazy generator: everything that it wrote before this call is already counted.
        starts[index_of[id(message)]] = written
        return ""

    variables = {**renderer.variables(tools, day), _MARK: begin}
    try:
        for chunk in _marked(renderer.template).generate(
            messages=shaped, add_generation_prompt=add_generation_prompt, **variables
        ):
            chunks.append(chunk)
            written += len(chunk)
    except FAILURES as error:
        raise RenderError(str(error) or type(error).__name__) from error
    return SingleRender("".join(chunks), starts)
