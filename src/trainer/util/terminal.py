"""Where commands print: consoles that keep to what the user and the terminal ask for."""

import os
from typing import Any

from rich.cells import cell_len, chop_cells
from rich.console import Console, ConsoleOptions, JustifyMethod, RenderableType, RenderResult
from rich.measure import Measurement
from rich.segment import Segment
from rich.table import Table

from trainer.util.plain_text import printable


def make_console(*, stderr: bool = False, verbatim: bool = False) -> Console:
    """Return a console for standard output or standard error. With `verbatim`, it prints text as it is.

    With `NO_COLOR` or `TERM=dumb` it writes no escape codes at all, neither colors nor bold text nor cursor movements,
    although `FORCE_COLOR` may be set. Otherwise rich decides: colors in a terminal, or with `FORCE_COLOR` everywhere.
    """
    options: dict[str, Any] = {"force_terminal": False, "color_system": None} if is_plain() else {}
    if verbatim:
        options |= {"highlight": False, "markup": False, "emoji": False}
    return Console(stderr=stderr, **options)


def is_plain() -> bool:
    """Return whether the user or the terminal asks for text without escape codes."""
    return os.environ.get("NO_COLOR", "") != "" or os.environ.get("TERM", "").lower() in ("dumb", "unknown")


console = make_console(stderr=True)
"""Where bars are drawn. The messages of commands go through it as well, so they never tear a bar."""


def folding_table(*columns: str, title: str, justify: JustifyMethod = "default") -> Table:
    """Return a table whose cells are folded where their column ends, never cut."""
    table = Table(title=title)
    for name in columns:
        table.add_column(name, justify=justify, overflow="fold")
    return table


class Name:
    """A name in a table, of any length: it is folded where its column ends, and no character is lost or added."""

    def __init__(self, text: str) -> None:
        self._text = " ".join(printable(text).split("\n"))

    def __rich_measure__(self, console: Console, options: ConsoleOptions) -> Measurement:
        width = max(cell_len(self._text), 1)
        return Measurement(min(width, options.max_width), min(width, options.max_width))

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        for line in chop_cells(self._text, options.max_width) or [""]:
            yield Segment(line)
            yield Segment.line()


class FirstThatFits:
    """The first of several forms of the same content that is not wider than the terminal; else the last one."""

    def __init__(self, *forms: RenderableType) -> None:
        self._forms = forms

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        unlimited = options.update_width(10_000)
        fitting = (
            form for form in self._forms if Measurement.get(console, unlimited, form).maximum <= options.max_width
        )
        yield next(fitting, self._forms[-1])
