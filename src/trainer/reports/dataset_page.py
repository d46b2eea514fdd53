"""The page of a whole dataset: summary, findings, a list of sessions, and sessions with what carries loss in colour.

Receives values, and computes nothing but the lengths of texts. `trainer.checking.dataset_view` makes the values.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from trainer.reports.charts import Histogram
from trainer.reports.page import render_page
from trainer.reports.text import plain
from trainer.reports.views import Fact, Table


@dataclass(frozen=True, slots=True)
class PartView:
    """Consecutive tokens that carry loss, or that do not. `lengths` are those of the tokens, in units of JavaScript."""

    text: str
    lengths: str
    is_supervised: bool

    @classmethod
    def of(cls, pieces: Sequence[str], *, is_supervised: bool) -> "PartView":
        """Return the view of some tokens.

        >>> PartView.of(["Hi", "\\x00", "😀"], is_supervised=False)
        PartView(text='Hi‹U+0000›😀', lengths='2,8,2', is_supervised=False)
        """
        shown = [plain(piece) for piece in pieces]
        lengths = ",".join(str(len(piece.encode("utf-16-le")) // 2) for piece in shown)
        return cls("".join(shown), lengths, is_supervised)


@dataclass(frozen=True, slots=True)
class BlockView:
    """A message, or the tools. `note` counts its tokens; `kind` is the role, or "tools"."""

    kind: str
    title: str
    note: str
    parts: tuple[PartView, ...]
    is_folded: bool = False
    is_learned: bool = False


@dataclass(frozen=True, slots=True)
class RowView:
    """A row of tokens. `title` is empty if it is the only row of its session."""

    title: str
    blocks: tuple[BlockView, ...]


@dataclass(frozen=True, slots=True)
class SessionCard:
    """A session that can be read on the page. `key` is its address, `problems` are the findings about it."""

    key: str
    title: str
    note: str
    rows: tuple[RowView, ...]
    problems: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class SessionLine:
    """A session in the list. `key` is the address of its card; None if it has none. `state` is empty if all is well."""

    key: str | None
    session_id: str
    split: str
    state: str
    n_answers: int
    n_tokens: int
    n_supervised: int
    opening: str
    called: str

    @property
    def share(self) -> str:
        """The share of the tokens that carries loss."""
        return f"{self.n_supervised / self.n_tokens:.0%}" if self.n_tokens else "–"


@dataclass(frozen=True, slots=True)
class DatasetView:
    """Everything on the page. `n_sessions` counts all of the dataset; `lines` and `cards` may be fewer."""

    title: str
    facts: tuple[Fact, ...]
    counts: Table
    lengths: tuple[Histogram, ...]
    tools: Table | None
    findings: Table | None
    n_sessions: int
    lines: tuple[SessionLine, ...]
    cards: tuple[SessionCard, ...]
    hint: str


def dataset_page(view: DatasetView) -> str:
    """Return the page as HTML."""
    splits = list(dict.fromkeys(line.split for line in view.lines))
    states = list(dict.fromkeys(line.state for line in view.lines if line.state))
    return render_page("dataset.html.jinja", title=view.title, view=view, splits=splits, states=states)
