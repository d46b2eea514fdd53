"""The values that the templates show: tables, heat maps, messages, answers and turns. Computes no metric.

Texts in them are as they came; the page escapes them.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

Tone = Literal["plain", "good", "bad", "warn"]
"""How a value is marked. It is never the only sign: a word or a symbol goes with it."""

N_SHADES = 10


@dataclass(frozen=True, slots=True)
class Badge:
    """A word in a frame."""

    text: str
    tone: Tone = "plain"


@dataclass(frozen=True, slots=True)
class Column:
    """A column of a table; numbers are on the right and sort as numbers."""

    name: str
    is_number: bool = False


@dataclass(frozen=True, slots=True)
class Cell:
    """A cell of a table. `value` is what the column is sorted by, if not the text; `href` makes it a link."""

    text: str
    value: float | None = None
    tone: Tone = "plain"
    note: str | None = None
    href: str | None = None


@dataclass(frozen=True, slots=True)
class Table:
    """A table with a caption. The first cell of a row is its header. `note` is a line below."""

    caption: str
    columns: tuple[Column, ...]
    rows: tuple[tuple[Cell, ...], ...]
    note: str | None = None


@dataclass(frozen=True, slots=True)
class HeatCell:
    """A count, its share of the row from 0 to 1, its shade from 0 (none) to `N_SHADES`, and whether it is right."""

    n: int
    share: float
    shade: int
    is_right: bool


@dataclass(frozen=True, slots=True)
class HeatMap:
    """Counts by row and column, shaded by their share of the row. `note` is a line below."""

    caption: str
    row_title: str
    column_title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, tuple[HeatCell, ...]], ...]
    note: str | None = None


def heat_map(
    caption: str,
    counts: Mapping[str, Mapping[str, int]],
    *,
    row_title: str,
    column_title: str,
    columns: Sequence[str],
    right: Mapping[str, str] | None = None,
    note: str | None = None,
) -> HeatMap:
    """Return the heat map of `counts[row][column]`. `right` names the right column of each row, if not its own name."""
    rows = []
    for name, row in counts.items():
        total = sum(row.values())
        wanted = name if right is None else right.get(name)
        rows.append((name, tuple(_heat(row.get(column, 0), total, column == wanted) for column in columns)))
    return HeatMap(caption, row_title, column_title, tuple(columns), tuple(rows), note)


def _heat(n: int, total: int, is_right: bool) -> HeatCell:
    share = n / total if total else 0.0
    shade = max(1, round(share * N_SHADES)) if n else 0
    return HeatCell(n, share, shade, is_right)


@dataclass(frozen=True, slots=True)
class Fact:
    """A term and what it is."""

    term: str
    text: str
    tone: Tone = "plain"


@dataclass(frozen=True, slots=True)
class ArgumentView:
    """One argument of a call, or a value inside one: its path, its JSON, and how it differs from the other side.

    `mark` is "missing" on the gold side and "additional" on the predicted one; "changed" and "same" on both.
    """

    path: str
    text: str
    mark: Literal["same", "changed", "missing", "additional"] = "same"
    note: str | None = None


@dataclass(frozen=True, slots=True)
class CallView:
    """A call, or an attempt at one: `raw` is its text if it could not be read. `note` says what is wrong with it."""

    name: str
    tone: Tone
    arguments: tuple[ArgumentView, ...] = ()
    raw: str | None = None
    note: str | None = None


@dataclass(frozen=True, slots=True)
class AnswerView:
    """One answer to a turn: gold's or a model's. `badges` say how it was judged."""

    title: str
    calls: tuple[CallView, ...]
    text: str
    badges: tuple[Badge, ...] = ()
    note: str | None = None


@dataclass(frozen=True, slots=True)
class MessageView:
    """A message of a conversation. `key` is its address in the page; calls are JSON texts with a title."""

    key: str
    role: str
    title: str
    text: str
    calls: tuple[tuple[str, str], ...] = ()
    is_folded: bool = False


@dataclass(frozen=True, slots=True)
class ConversationView:
    """A conversation, with a key that is its address in the page, and the tools that it had, by name."""

    key: str
    title: str
    messages: tuple[MessageView, ...]
    tools: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class TurnView:
    """A judged turn with its answers side by side, gold first.

    `filters` are the words that the page can filter by: kinds ("reason", "tool", "change") and their values.
    `conversation` is the key of its conversation, whose first `n_before` messages are its history; None if the folder
    does not have it. `last` is the message that the turn answers.
    """

    key: str
    title: str
    badges: tuple[Badge, ...]
    answers: tuple[AnswerView, ...]
    filters: Mapping[str, tuple[str, ...]]
    conversation: str | None = None
    n_before: int = 0
    last: MessageView | None = None
