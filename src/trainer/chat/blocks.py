"""Split a row of tokens into messages, for people: which tokens belong to which message, and where the tools are.

What carries loss comes from the row's proven spans. Where one message ends in the text between them is looked for, by
its content and the stop tokens; a template that changes content leaves some messages together in one block.
"""

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal, NamedTuple

from trainer.chat.encode import ChatEncoder
from trainer.chat.rows import EncodedRow
from trainer.chat.tokens.token_texts import Piece, TokenTexts
from trainer.chat.verify import common_length
from trainer.errors import TemplateError
from trainer.types import Message, Session

Kind = Literal["system", "tools", "user", "assistant", "tool"]

_LONG_ENOUGH = 40  # characters of a description, to find it
_SHORT_REST = 40  # characters after the tools that still count as theirs


class Part(NamedTuple):
    """Consecutive tokens. All of them carry loss, or none."""

    pieces: tuple[Piece, ...]
    is_supervised: bool

    @property
    def text(self) -> str:
        """The text of the tokens."""
        return "".join(piece.text for piece in self.pieces)

    @property
    def n_tokens(self) -> int:
        """The number of tokens."""
        return sum(piece.n_tokens for piece in self.pieces)


@dataclass(frozen=True, slots=True)
class Block:
    """The tokens of a message, or of the tools. `turn` is the message's index in the session; None for the tools."""

    kind: Kind
    turn: int | None
    parts: tuple[Part, ...]

    @property
    def n_tokens(self) -> int:
        """The number of tokens."""
        return sum(part.n_tokens for part in self.parts)

    @property
    def n_supervised(self) -> int:
        """The number of tokens that carry loss."""
        return sum(part.n_tokens for part in self.parts if part.is_supervised)


class _Cut(NamedTuple):
    """Where a block begins, and where its content does, in characters of a text."""

    start: int
    kind: Kind
    turn: int | None
    content: int = 0


class BlockSplitter:
    """Splits rows of one encoder."""

    def __init__(self, encoder: ChatEncoder) -> None:
        self._encoder = encoder
        self._texts = TokenTexts(encoder.decode)
        stops = sorted(map(re.escape, encoder.profile.stop_tokens), key=len, reverse=True)
        self._stop = "|".join(stops) or r"(?!)"
        self._header = encoder.profile.header.prompt

    def blocks(self, session: Session, row: EncodedRow) -> list[Block]:
        """Return the blocks of a row, in order. Together they have all its tokens."""
        found: list[Block] = []
        end, n_before = 0, 0
        for span in row.spans:
            pieces = self._texts.pieces(row.input_ids, end, span.start)
            text = "".join(piece.text for piece in pieces)
            cuts, lead = self._cuts(text, session.messages, range(n_before, span.turn), is_first=not end)
            if not end:
                place = self._tools_place(text, session, span.turn, row)
                cuts = _with_tools(cuts, place, end=lead, first=_first_mention(text, session, place))
            borders = [*(cut.start for cut in cuts), lead] if cuts else [0]
            indices = _indices(pieces, [0, *borders[1:]])
            for cut, (first, last) in zip(cuts, pairwise(indices), strict=True):
                if last > first:
                    found.append(Block(cut.kind, cut.turn, (Part(tuple(pieces[first:last]), False),)))
            before = Part(tuple(pieces[indices[-1] :]), False)
            target = Part(tuple(self._texts.pieces(row.input_ids, span.start, span.end)), True)
            found.append(Block("assistant", span.turn, (before, target) if before.pieces else (target,)))
            end, n_before = span.end, span.turn + 1
        return found

    def _cuts(
        self, text: str, messages: Sequence[Message], turns: Iterable[int], *, is_first: bool
    ) -> tuple[list[_Cut], int]:
        """Return where the messages begin in a text, and where the generation prompt after them begins."""
        places = list(self._places(text, messages, turns))[::-1]
        if not places:
            lead = len(text.removesuffix(self._header)) if self._header else len(text)
            return ([_Cut(0, "system", None)] if is_first and lead else []), lead if is_first else 0
        ends = [
            self._end(text, end, following)
            for (_, _, end), following in zip(places, [*(start for _, start, _ in places[1:]), len(text)], strict=True)
        ]
        starts = zip([0, *ends[:-1]], places, strict=True)
        cuts = [_Cut(start, messages[turn]["role"], turn, content) for start, (turn, content, _) in starts]
        first = places[0]
        if is_first and messages[first[0]]["role"] != "system":  # a system prompt of the template's own
            own = self._own_head(text, first[1])
            cuts = [_Cut(0, "system", None), cuts[0]._replace(start=own), *cuts[1:]] if own else cuts
        return cuts, ends[-1]

    def _places(self, text: str, messages: Sequence[Message], turns: Iterable[int]) -> Iterator[tuple[int, int, int]]:
        """Yield (turn, start, end) of each content that is found, from the last to the first."""
        limit = len(text.removesuffix(self._header)) if self._header else len(text)
        for turn in sorted(turns, reverse=True):
            content = (messages[turn].get("content") or "").strip()
            if not content:
                continue
            closed = re.compile(f"{re.escape(content)}\\s*(?:{self._stop})")
            matches = [match.start() for match in closed.finditer(text, 0, limit)]
            start = matches[-1] if matches else text.rfind(content, 0, limit)
            if start >= 0:
                yield turn, start, start + len(content)
                limit = start

    def _end(self, text: str, end: int, limit: int) -> int:
        """Return where a message ends: after its stop token and the line break after it, or after its content."""
        closing = re.compile(f"(?:{self._stop})\\n*").search(text, end, limit)
        return closing.end() if closing else end

    def _own_head(self, text: str, limit: int) -> int:
        """Return the end of the last message that is closed before `limit`; 0 if there is none."""
        found = [match.end() for match in re.finditer(f"(?:{self._stop})\\n*", text[:limit])]
        return found[-1] if found else 0

    def _tools_place(self, text: str, session: Session, turn: int, row: EncodedRow) -> tuple[int, int] | None:
        """Return the part of a prompt that is not there without tools; None if nobody can tell."""
        if not session.tools:
            return None
        try:
            bare = self._encoder.render(session.messages[:turn], (), add_generation_prompt=True, day=row.day)
        except TemplateError:
            return None
        start = common_length(text, bare)
        n_after = common_length(text[start:][::-1], bare[start:][::-1])
        return (start, len(text) - n_after) if len(text) - n_after > start else None


def _first_mention(text: str, session: Session, place: tuple[int, int] | None) -> int:
    """Return where the tools are described first. A template may also write other things only if there are tools."""
    if place is None:
        return 0
    functions = [tool["function"] for tool in session.tools]
    words = [str(function.get("description") or function["name"])[:_LONG_ENOUGH] for function in functions]
    return min((at for word in words if (at := text.find(word, *place)) >= 0), default=place[0])


def _with_tools(cuts: list[_Cut], place: tuple[int, int] | None, *, end: int, first: int) -> list[_Cut]:
    """Return the cuts with the tools as a block of their own. It begins in the message that describes them `first`."""
    if place is None or not cuts:
        return cuts
    start, after = place
    start = max(start, *(cut.start for cut in cuts if cut.start <= first))
    before = [cut for cut in cuts if cut.start < start] or cuts[:1]
    inside = [cut for cut in cuts if start <= cut.start <= after and cut not in before]
    later = [cut for cut in cuts if cut.start > after]
    following = later[0].start if later else end
    around = inside[-1] if inside else before[-1]
    is_markup = around.content < after and following - after < _SHORT_REST
    rest = [] if is_markup else [around._replace(start=after)]
    if before[0].start >= start:
        before = []
    return [*before, _Cut(start if before else 0, "tools", None), *rest, *later]


def _indices(pieces: Sequence[Piece], positions: Sequence[int]) -> list[int]:
    """Return the index of the first piece that begins at or after each position, in characters."""
    found, index, at = [], 0, 0
    for position in positions:
        while index < len(pieces) and at < position:
            at += len(pieces[index].text)
            index += 1
        found.append(index)
    return found
