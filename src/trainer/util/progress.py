"""Show how far long work is: a bar with rate and time left in a terminal, log messages elsewhere."""

import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    TaskProgressColumn,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.progress import Task as RichTask
from rich.text import Text

logger = logging.getLogger(__name__)

console = Console(stderr=True)
"""Where bars are drawn. The messages of commands go through it as well, so they never tear a bar."""

_SECONDS_BETWEEN_LINES = 15.0


class _RateColumn(ProgressColumn):
    def __init__(self, unit: str) -> None:
        super().__init__()
        self._unit = unit

    def render(self, task: RichTask) -> Text:
        speed = task.finished_speed or task.speed
        return Text(f"{speed:.2f} {self._unit}/s" if speed else f"? {self._unit}/s", style="progress.data.speed")


def make_bar(unit: str) -> Progress:
    """Return a bar that shows counts, rate, elapsed time and time left."""
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        TaskProgressColumn(),
        MofNCompleteColumn(),
        _RateColumn(unit),
        TimeElapsedColumn(),
        TextColumn("<"),
        TimeRemainingColumn(),
        TextColumn("{task.fields[note]}"),
        console=console,
    )


class Advance(Protocol):
    """Reports how many more units are done; a `note` appears at the end of the bar or line."""

    def __call__(self, n_done: int, /, *, note: str = "") -> None: ...


@contextmanager
def progress_bar(description: str, *, total: int, unit: str, show: bool = True) -> Iterator[Advance]:
    """Yield a function to call with the number of units that were just done.

    In a terminal it moves a bar. Elsewhere it logs a line every 15 seconds, and one at the end.
    """
    if not show:
        yield lambda n_done, /, *, note="": None
    elif console.is_terminal:
        with make_bar(unit) as bar:
            task = bar.add_task(description, total=total, note="")
            yield lambda n_done, /, *, note="": bar.update(task, advance=n_done, note=note)
    else:
        lines = _Lines(description, total, unit)
        yield lines.advance
        lines.write()


class _Lines:
    """The same as log messages."""

    def __init__(self, description: str, total: int, unit: str) -> None:
        self._description, self._total, self._unit = description, total, unit
        self._n_done, self._note = 0, ""
        self._started = self._written = time.monotonic()

    def advance(self, n_done: int, /, *, note: str = "") -> None:
        self._n_done += n_done
        self._note = f" | {note}" if note else ""
        if time.monotonic() - self._written > _SECONDS_BETWEEN_LINES:
            self.write()

    def write(self) -> None:
        self._written = time.monotonic()
        seconds = self._written - self._started
        rate = self._n_done / seconds if seconds else 0.0
        left = f", {(self._total - self._n_done) / rate:.0f} s left" if rate and self._n_done < self._total else ""
        done = f"{self._description}: {self._n_done}/{self._total} {self._unit}"
        logger.info(f"{done} | {rate:.2f} {self._unit}/s | {seconds:.0f} s{left}{self._note}")
