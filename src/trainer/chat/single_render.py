"""Render a conversation once and know where each message ends, for templates proven to write them in order.

Then one rendering holds every prompt and every turn. Decides nothing about templates.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from trainer.chat.prefix_preserving import writes_in_order
from trainer.chat.render import FAILURES, Renderer, RenderError
from trainer.chat.source import TemplateSource, compiled
from trainer.types import Message


class MarkedText(NamedTuple):
    """A rendering; `ends[i]` is the character position behind message i, where it was written in turn."""

    text: str
    ends: Mapping[int, int]


class Tails(NamedTuple):
    """What a template that writes messages in order appends: as generation prompt, and without one."""

    prompt: str
    final: str


def find_tails(renderer: Renderer, source: TemplateSource) -> Tails | None:
    """The template's constant tails; None where it is not proven to write messages in order.

    Also None where this module's way of rendering does not give the tokenizer's own text.
    """
    if not source.is_only or not writes_in_order(source.tree):
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
    tokenizer: Any = renderer.tokenizer
    template = compiled(tokenizer.get_chat_template(None, list(tools) or None))
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
