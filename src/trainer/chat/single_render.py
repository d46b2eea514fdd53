"""Render a conversation once and record where each message ends, with templates that preserve prefixes.

Then one rendering contains every prompt and every turn. `prefix_preserving` decides which templates qualify.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import date
from typing import Any, NamedTuple

from trainer.chat.template.prefix_preserving import preserves_prefixes
from trainer.chat.template.render import FAILURES, Renderer, RenderError, compiled
from trainer.chat.template.source import TemplateSource
from trainer.types import Message


class SingleRender(NamedTuple):
    """A rendered conversation. `ends[i]` is the character position after message i, if the loop reported it."""

    text: str
    ends: Mapping[int, int]


class Suffixes(NamedTuple):
    """What a prefix-preserving template writes after the messages: the generation prompt, or `final` without one."""

    generation_prompt: str
    final: str


def find_suffixes(renderer: Renderer, source: TemplateSource) -> Suffixes | None:
    """Return what the template writes after the messages, or None if it is not proven to preserve prefixes.

    Also None if this module's way of rendering does not give the tokenizer's own text.
    """
    if not preserves_prefixes(source.tree):
        return None
    probe: tuple[Message, ...] = ({"role": "user", "content": "x"}, {"role": "assistant", "content": "y"})
    suffixes = []
    for messages, is_prompt in ((probe[:1], True), (probe, False)):
        try:
            rendered = render_once(renderer, messages, (), add_generation_prompt=is_prompt)
            usual = renderer(messages, (), add_generation_prompt=is_prompt)
        except RenderError:
            return None
        end = rendered.ends.get(len(messages) - 1)
        if end is None or rendered.text != usual:
            return None
        suffixes.append(rendered.text[end:])
    return Suffixes(*suffixes)


class _ReportingList(list[Any]):
    """The message list that the template sees. Reports each step of the loop over it."""

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
            return _ReportingList(found, self.offset + (key.start or 0), self.report)
        return found


def render_once(
    renderer: Renderer,
    messages: Sequence[Message],
    tools: Sequence[Any],
    *,
    add_generation_prompt: bool,
    day: date | None = None,
) -> SingleRender:
    """Render canonical messages once with a prefix-preserving template, and record where each message ends.

    Raises:
        RenderError: the template raised.
    """
    chunks: list[str] = []
    ends: dict[int, int] = {}
    written = 0

    def report(index: int) -> None:
        # The template is a lazy generator: everything that it wrote before this call is already counted.
        ends[index] = written

    variables = renderer.variables(tools, day)
    shaped = _ReportingList(renderer.shape(messages), 0, report)
    try:
        for chunk in compiled(renderer.template).generate(
            messages=shaped, add_generation_prompt=add_generation_prompt, **variables
        ):
            chunks.append(chunk)
            written += len(chunk)
    except FAILURES as error:
        raise RenderError(str(error) or type(error).__name__) from error
    return SingleRender("".join(chunks), ends)
