"""Split an answer into prose and calls while it is being written. The result is that of `ToolCallFormat.parse`."""

import re
from collections.abc import Sequence

from trainer.tool_calls.base import ToolCallFormat
from trainer.tool_calls.openings import AT_LINE, AT_START, IN_LINE, openings
from trainer.types import ParsedText, Tool

# A tag that is not complete. No reader can know yet what it will be.
_OPEN_TAG = re.compile(r"<[^\s<>]{0,63}|\[[A-Z_/]{0,31}")

_GROWTH = 1.25
_MOST_WORK = 16


class AnswerStream:
    """One answer that arrives in pieces of any size.

    Prose is returned as soon as no call can begin in it. The first thing that is or may be a call holds back the text
    after it until that is decided. The calls are returned at the end, so they are those of the whole text. The time is
    about linear in the text.

    Prose differs from that of the whole text only if the end of an answer changes the meaning of prose that is already
    returned, as the end of a reasoning block does that nothing opened. Then no text is lost, but some stays that
    `ToolCallFormat.parse` would drop.
    """

    def __init__(self, fmt: ToolCallFormat) -> None:
        self._fmt = fmt
        self._openings = openings(fmt)
        self._pieces: list[str] = []
        self._held: list[str] = []
        self._n_held = 0
        self._n_next = 0  # how long the held text must be for the next look at it
        self._n_text = 0
        self._n_looked_at = 0
        self._context = AT_START
        self._spaces: list[str] = []
        self._sent: list[str] = []

    @property
    def text(self) -> str:
        """The whole text so far."""
        return "".join(self._pieces)

    def feed(self, piece: str) -> str:
        """Take the next piece of the answer, and return the prose that is certain now."""
        self._pieces.append(piece)
        if not self._openings.streams:
            return ""
        self._held.append(piece)
        self._n_text += len(piece)
        self._n_held += len(piece)
        if self._n_held < self._n_next and not self._may_end_reasoning(piece):
            return ""
        return self._release("".join(self._held))

    def finish(self, *, finished: bool = True, tools: Sequence[Tool] = ()) -> ParsedText:
        """Return the rest of the prose, and all calls. The arguments are those of `ToolCallFormat.parse`."""
        parsed = parse_for_client(self._fmt, self.text, finished=finished, tools=tools)
        sent = "".join(self._sent)
        n_shared = _n_shared(sent, parsed.content)
        rest = parsed.content[n_shared:]
        return ParsedText(f"\n{rest}" if rest and sent and not n_shared else rest, parsed.calls)

    def _may_end_reasoning(self, piece: str) -> bool:
        """Return whether to look earlier than planned, as long as all looks together stay linear in the text."""
        ends = self._context == AT_START and (">" in piece or "]" in piece)
        return ends and self._n_looked_at + self._n_held <= _MOST_WORK * self._n_text

    def _release(self, text: str) -> str:
        """Return the certain prose at the beginning of the text, and hold the rest."""
        position, certain, self._n_next = 0, [], 0
        while (end := self._next_opener(text, position)) < len(text):
            certain.append(self._prose(text[position:end]))
            head, position = text[end:], end
            self._n_looked_at += len(head)
            if _OPEN_TAG.fullmatch(head):
                break
            if not self._openings.may_begin(head, self._context):
                self._pass(head[0])
                certain.append(self._prose(head[0]))
                position += 1
                continue
            n_reasoning = self._n_before_prose(head)
            position += n_reasoning
            if not n_reasoning:
                self._n_next = int(len(head) * _GROWTH)
                break
        else:
            certain.append(self._prose(text[position:]))
            position = len(text)
        self._held, self._n_held = [text[position:]], len(text) - position
        return "".join(certain)

    def _next_opener(self, text: str, start: int) -> int:
        """Return where a call may begin at or after `start`, or the length of the text."""
        for position in range(start, len(text)):
            character = text[position]
            if character in self._openings.openers(self._context):
                return position
            self._pass(character)
        return len(text)

    def _pass(self, character: str) -> None:
        if not character.isspace():
            self._context = IN_LINE
        elif character == "\n" and self._context != AT_START:
            self._context = AT_LINE

    def _n_before_prose(self, head: str) -> int:
        """Return how many characters of an answer's beginning are not prose, if prose without calls follows them."""
        if self._context != AT_START:
            return 0
        content, calls = self._fmt.parse(head)
        is_after = bool(content) and not calls and head.rstrip().endswith(content)
        return len(head.rstrip()) - len(content) if is_after else 0

    def _prose(self, text: str) -> str:
        """Return the text without the white space at the end, which is prose only if more prose follows."""
        if not text or text.isspace():
            self._spaces.append(text)
            return ""
        kept = text.rstrip()
        found = "".join([*self._spaces, kept]) if self._sent else kept.lstrip()
        self._spaces = [text[len(kept) :]]
        self._sent.append(found)
        return found


def parse_for_client(
    fmt: ToolCallFormat, text: str, *, finished: bool = True, tools: Sequence[Tool] = ()
) -> ParsedText:
    """Return what `fmt.parse` finds. A client that reads the prose again finds no call in it that was not found here.

    Without its wrappers, prose can look like a call. Such prose is returned as the model wrote it.
    """
    parsed = fmt.parse(text, finished=finished, tools=tools)
    if not parsed.calls and parsed.content != text and fmt.parse(parsed.content).calls:
        return parsed._replace(content=text)
    return parsed


def _n_shared(a: str, b: str) -> int:
    """Return the number of characters that both texts share at the beginning."""
    if b.startswith(a):
        return len(a)
    return next((i for i, (x, y) in enumerate(zip(a, b, strict=False)) if x != y), min(len(a), len(b)))
