"""Find what a chat template leaves out of a conversation: every message's text must be in the rendering, in order.

A template may write text as it is, as JSON, or with other white space. Reasoning is not searched for in history,
because many templates drop it there on purpose. Renders nothing.
"""

import json
from collections.abc import Collection, Iterator, Sequence
from typing import Any, NamedTuple

from trainer.types import Message, Tool

_END_OF_THINKING = "</think>"


class LeftOut(NamedTuple):
    """The turn whose text is missing (None for the tools), and what is missing."""

    turn: int | None
    what: str


def left_out(
    messages: Sequence[Message], tools: Sequence[Tool], text: str, *, known: Collection[int] = ()
) -> LeftOut | None:
    """Return the first part of a conversation that is missing in its rendered text, or None.

    `known` are turns of which it is already known that the text has them.
    """
    if any(tool["function"]["name"] not in text for tool in tools):
        return LeftOut(None, "tool schemas")
    reader = _Reader(text)
    for turn, message in enumerate(messages):
        if turn in known:
            continue
        # Mistral's templates move the system message to the last question, so its place is free.
        missing = _missing(message, reader, anywhere=message["role"] == "system")
        if missing is not None:
            return LeftOut(turn, missing)
    return None


def left_out_of_turn(message: Message, target: str) -> str | None:
    """Return what is missing of an assistant message in the text that the model must write, or None."""
    reasoning = message.get("reasoning_content")
    if reasoning and not _Reader(target).finds(reasoning):
        return "reasoning"
    return _missing(message, _Reader(target), whole=True)


def _missing(message: Message, reader: "_Reader", *, whole: bool = False, anywhere: bool = False) -> str | None:
    """Return what is missing of a message after the reader's position, or None after moving that to its end.

    The calls are searched in order, and the text beside them anywhere after: Gemma 4 writes it after the results.
    """
    start = reader.position
    (what, content), *calls = _parts(message, whole=whole)
    if not reader.finds(content, anywhere=anywhere):
        return what
    reader.position = start if calls else reader.position
    return next((what for what, *texts in calls if not reader.finds(*texts)), None)


def _parts(message: Message, *, whole: bool = False) -> Iterator[tuple[str, ...]]:
    """Yield the content of a message, then its calls: the name of the feature that writes it, and its texts."""
    role, content = message["role"], message.get("content") or ""
    calls = message.get("tool_calls") or ()
    if role == "assistant" and not whole:
        content = content.rpartition(_END_OF_THINKING)[2]
    names = {"assistant": "content with a call" if calls else "this assistant message", "tool": "tool results"}
    yield names.get(role, f"this {role} message"), content
    for number, call in enumerate(calls):
        what = "several calls in a turn" if number else "tool calls"
        yield what, call["function"]["name"], *_strings(call["function"]["arguments"])


def _strings(value: Any) -> Iterator[str]:
    """Yield the strings inside a JSON value."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for inner in value.values():
            yield from _strings(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _strings(inner)


class _Reader:
    """Searches words in a text, each after the one before."""

    def __init__(self, text: str) -> None:
        self.text, self.position = text, 0
        self._squeezed: tuple[int, str] | None = None

    def finds(self, *texts: str, anywhere: bool = False) -> bool:
        """Return whether the texts come next, in any order, as they are or in another usual form."""
        start = end = 0 if anywhere else self.position
        for words in map(str.strip, texts):
            found = self.text.find(words, start)
            if found < 0 and not self._finds_other_form(words, start):
                return False
            end = max(end, found + len(words))
        if not anywhere:
            self.position = end
        return True

    def _finds_other_form(self, words: str, start: int) -> bool:
        forms = {words, json.dumps(words, ensure_ascii=False)[1:-1], json.dumps(words)[1:-1], repr(words)[1:-1]}
        forms.add(words.replace("\\", "\\\\").replace("'", "\\'").replace("\n", "\\n").replace("\r", "\\r"))
        rest = self._rest(start)
        return any("".join(form.split()) in rest for form in forms)

    def _rest(self, start: int) -> str:
        """Return the text from a position on without white space."""
        if self._squeezed is None or self._squeezed[0] != start:
            self._squeezed = (start, "".join(self.text[start:].split()))
        return self._squeezed[1]
