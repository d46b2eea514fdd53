"""Choose the sessions that the dataset's page shows as tokens, and make their values: messages, tokens, findings."""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import takewhile
from typing import Any, NamedTuple

from trainer.chat import ChatEncoder, EncodedRow, Span
from trainer.chat.blocks import Block, BlockSplitter
from trainer.data.findings import Finding
from trainer.data.prepare import PreparedSplit, SessionPlace
from trainer.errors import ToolSftError
from trainer.reports.dataset_page import BlockView, PartView, RowView, SessionCard
from trainer.types import Session
from trainer.util.clock import session_day

MOST_BYTES = 6_000_000
"""How much of a page the sessions that are shown as tokens may take, about. The whole page stays under 10 MB."""

_BYTES_PER_PART = 160  # of markup

Problems = Mapping[tuple[str, str | None], Sequence[Finding]]
"""The findings about each session, by split and id."""


class FoundSession(NamedTuple):
    """A session of a split: where it is, and the indices of its rows of tokens."""

    split: PreparedSplit
    place: SessionPlace
    tokens: tuple[int, ...]

    @property
    def name(self) -> tuple[str, str]:
        """What identifies the session in the page."""
        return self.split.name, self.place.session_id


@dataclass(frozen=True)
class PageOptions:
    """What to show: at most `n_sessions` as tokens, and the ones that are `named` first."""

    n_sessions: int
    named: tuple[str, ...] = ()


def find_sessions(split: PreparedSplit) -> Iterator[FoundSession]:
    """Yield every session of a split, with its rows of tokens."""
    rows: dict[tuple[int, int], list[int]] = defaultdict(list)
    for number, part in enumerate(split.parts):
        for index, row in enumerate(part.tokens["row"]):
            rows[number, row].append(index)
    for place in split.sessions():
        yield FoundSession(split, place, tuple(rows[place.part, place.row]))


def _chosen(sessions: Sequence[FoundSession], problems: Problems, options: PageOptions) -> Iterator[FoundSession]:
    """Yield the sessions to show as tokens, the most wanted first: named ones, some with findings, an even choice."""
    named = [found for found in sessions if found.place.session_id in options.named]
    odd = [found for found in sessions if problems.get(found.name)][: options.n_sessions // 2]
    step = max(len(sessions) / max(options.n_sessions, 1), 1.0)
    spread = [sessions[int(index * step)] for index in range(min(options.n_sessions, len(sessions)))]
    yield from {found.name: found for found in (*named, *odd, *spread)}.values()


def session_cards(
    listed: Sequence[FoundSession],
    problems: Problems,
    encoder: ChatEncoder,
    options: PageOptions,
) -> dict[tuple[str, str], SessionCard]:
    """Return the sessions to show, in the order of the list, until there are enough or the page is full."""
    splitter = BlockSplitter(encoder)
    made: dict[tuple[str, str], SessionCard] = {}
    n_bytes = 0
    for found in _chosen(listed, problems, options):
        if len(made) >= max(options.n_sessions, len(options.named)):
            break
        card = _card(found, problems.get(found.name, ()), splitter)
        n_bytes += _size(card)
        if n_bytes > MOST_BYTES and made:
            break
        made[found.name] = card
    in_order = [found.name for found in listed if found.name in made]
    return {name: replace(made[name], key=f"session-{number}") for number, name in enumerate(in_order, start=1)}


def _size(card: SessionCard) -> int:
    parts = [part for row in card.rows for block in row.blocks for part in block.parts]
    return sum(len(part.text.encode("utf-8", "replace")) + len(part.lengths) + _BYTES_PER_PART for part in parts)


def _card(found: FoundSession, findings: Sequence[Finding], splitter: BlockSplitter) -> SessionCard:
    tokens = found.split.parts[found.place.part].tokens
    title = f"{found.split.name}: {found.place.session_id}"
    lines = tuple(finding.line() for finding in findings)
    try:
        session = found.split.read(found.place)
    except ToolSftError as error:
        return SessionCard("", title, "cannot be read", (), lines or (str(error),))
    encoded = [_encoded(tokens[index], session) for index in found.tokens if tokens[index]["problem"] is None]
    rows = [
        RowView(f"Row {number} of {len(encoded)}" if len(encoded) > 1 else "", _blocks(row, session, splitter))
        for number, row in enumerate(encoded, start=1)
    ]
    n_tokens = sum(len(row.input_ids) for row in encoded)
    n_learned = sum(span.end - span.start for row in encoded for span in row.spans)
    note = f"{n_tokens:,} tokens, {n_learned:,} to learn" if rows else "has no tokens; its messages as text"
    shown = tuple(rows) or (RowView("", _plain_blocks(session)),)
    return SessionCard("", title, note, shown, lines)


def _encoded(tokens: Mapping[str, Any], session: Session) -> EncodedRow:
    spans = zip(tokens["turns"], tokens["starts"], tokens["ends"], strict=True)
    day = session.day or session_day(session.session_id)
    return EncodedRow(list(tokens["input_ids"]), tuple(Span(*span) for span in spans), day)


def _blocks(row: EncodedRow, session: Session, splitter: BlockSplitter) -> tuple[BlockView, ...]:
    return tuple(_block(block, session) for block in splitter.blocks(session, row))


def _block(block: Block, session: Session) -> BlockView:
    parts = tuple(
        PartView.of(_visible([piece.text for piece in part.pieces]), is_supervised=part.is_supervised)
        for part in block.parts
    )
    n = len(session.tools)
    title = f"{n} tool{'' if n == 1 else 's'}" if block.kind == "tools" else block.kind
    note = f"{block.n_tokens:,} tokens"
    if block.n_supervised:
        note = f"{block.n_supervised:,} tokens to learn"
    elif block.kind == "assistant":
        note += ", context only"
    is_folded = block.kind == "tools" or (block.kind == "system" and block.n_tokens > 100)
    return BlockView(block.kind, title, note, parts, is_folded, bool(block.n_supervised))


def _visible(pieces: Sequence[str]) -> list[str]:
    """Return the texts of tokens; a line break at the very beginning, which would only be a gap, becomes a sign."""
    n_breaks = len(list(takewhile(lambda piece: not piece.strip("\n"), pieces)))
    return [*(piece.replace("\n", "↵") for piece in pieces[:n_breaks]), *pieces[n_breaks:]]


def _plain_blocks(session: Session) -> tuple[BlockView, ...]:
    """Return the messages of a session that has no tokens."""
    blocks = []
    for message in session.messages:
        calls = [
            f"{call['function']['name']} {call['function']['arguments']}" for call in message.get("tool_calls") or ()
        ]
        text = "\n".join(part for part in (message.get("content") or "", *calls) if part)
        blocks.append(BlockView(message["role"], message["role"], "", (PartView(text, "", is_supervised=False),)))
    return tuple(blocks)
