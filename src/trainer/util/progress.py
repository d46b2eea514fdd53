"""Show how far long work is: a bar with rate and time left in a terminal, log messages elsewhere."""

import logging
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Protocol

from rich.console import RenderableType
from rich.progress import BarColumn, Progress, ProgressColumn, TaskID, TaskProgressColumn, TextColumn
from rich.progress import Task as RichTask
from rich.table import Column
from rich.text import Text

from trainer.util.messages import is_first_process
from trainer.util.plain_text import printable
from trainer.util.terminal import console, is_plain

logger = logging.getLogger(__name__)

_SECONDS_BETWEEN_LINES = 15.0
_SECONDS_OF_RATE = 300.0  # the time left is estimated from the latest part of the work
_WIDE = 110  # columns of a terminal that has room for everything in one line


class Advance(Protocol):
    """Reports how many more units are done; a `note` appears at the end of the bar or line."""

    def __call__(self, n_done: int, /, *, note: str = "") -> None: ...


def shows_bars() -> bool:
    """Return whether bars are drawn: in a terminal that can move its cursor, and that is asked for no plain text."""
    return console.is_terminal and not is_plain() and console.file.isatty()


@contextmanager
def progress_bar(
    description: str, *, total: int | None, unit: str, show: bool = True, done: int = 0, lines: bool = True
) -> Iterator[Advance]:
    """Yield a function to call with the number of units that were just done.

    In a terminal it moves a bar; one that is shown inside another one is below it. Elsewhere it logs a line every
    15 seconds, and one at the end, unless `lines` is false. `total` is None if it is not known, and `done` is what was
    done before. Of the processes that a launcher started, only the first one shows anything.
    """
    if not show or not is_first_process():
        yield _ignore
    elif shows_bars():
        with _SCREEN.bar(printable(description), total=total, unit=unit, done=done) as advance:
            yield advance
    elif lines:
        written = _Lines(description, total, unit, done)
        yield written.advance
        written.write()
    else:
        yield _ignore


def _ignore(n_done: int, /, *, note: str = "") -> None:
    """Show nothing."""


class _Screen:
    """The bars in the terminal, one below the other. The first one puts them on the screen and takes them off it."""

    def __init__(self) -> None:
        self._bars: _Bars | None = None

    @contextmanager
    def bar(self, description: str, *, total: int | None, unit: str, done: int) -> Iterator[Advance]:
        outer = self._bars
        bars = self._bars = outer or _Bars()
        task = bars.add_task(description, total=total, completed=done, unit=unit, note="")
        if outer is None:
            bars.start()
        try:
            yield lambda n_done, /, *, note="": bars.update(task, advance=n_done, note=note)
        finally:
            if outer is None:
                self._bars = None
                bars.stop()  # also shows the cursor again and begins a new line
            else:
                bars.leave(task)


_SCREEN = _Screen()


class _Bars(Progress):
    def __init__(self) -> None:
        self._is_wide = console.width >= _WIDE
        name = TextColumn("{task.description}", markup=False, table_column=Column(overflow="fold"))
        share = [TaskProgressColumn()] if self._is_wide else []
        bar = BarColumn(bar_width=30 if self._is_wide else 12)
        columns = (name, bar, *share, _CountColumn(), _RateColumn(), _TimeColumn())
        super().__init__(*columns, console=console, speed_estimate_period=_SECONDS_OF_RATE)

    def leave(self, task: TaskID) -> None:
        """Print the bar of one task above the others, where it stays."""
        self.refresh()
        ended = [one for one in self.tasks if one.id == task]
        self.remove_task(task)
        self.console.print(self.make_tasks_table(ended))

    def get_renderables(self) -> Iterable[RenderableType]:
        """The bars, and what is noted about each, below them if the terminal is narrow."""
        yield self.make_tasks_table(self.tasks)
        for task in self.tasks:
            if task.fields["note"]:
                yield Text(f"  {task.fields['note']}", style="dim", overflow="fold")


class _CountColumn(ProgressColumn):
    def render(self, task: RichTask) -> Text:
        return Text(_count(int(task.completed), task.total, task.fields["unit"]), style="progress.download")


class _RateColumn(ProgressColumn):
    def render(self, task: RichTask) -> Text:
        return Text(_rate(task.finished_speed or task.speed, task.fields["unit"]), style="progress.data.speed")


class _TimeColumn(ProgressColumn):
    """The time so far, and the time left."""

    max_refresh = 0.5

    def render(self, task: RichTask) -> Text:
        elapsed = _clock(task.finished_time if task.finished else task.elapsed)
        left = "" if task.finished else f" < {_clock(task.time_remaining)}"
        return Text(elapsed + left, style="progress.elapsed")


class _Lines:
    """The same as log messages."""

    def __init__(self, description: str, total: int | None, unit: str, done: int) -> None:
        self._description, self._total, self._unit = description, total, unit
        self._n_before = self._n_done = done
        self._note = ""
        self._started = self._written = time.monotonic()

    def advance(self, n_done: int, /, *, note: str = "") -> None:
        self._n_done += n_done
        self._note = note
        if time.monotonic() - self._written > _SECONDS_BETWEEN_LINES:
            self.write()

    def write(self) -> None:
        self._written = time.monotonic()
        seconds = self._written - self._started
        rate = (self._n_done - self._n_before) / seconds if seconds else None
        times = _clock(seconds)
        if rate and self._total is not None and self._n_done < self._total:
            times += f", {_clock((self._total - self._n_done) / rate)} left"
        count = f"{self._description}: {_count(self._n_done, self._total, self._unit)}"
        logger.info(" | ".join(part for part in (count, _rate(rate, self._unit), times, self._note) if part))


def _count(n_done: int, total: float | None, unit: str) -> str:
    return f"{n_done}{'' if total is None else f'/{total:.0f}'} {unit}"


def _rate(per_second: float | None, unit: str) -> str:
    """Return units per second, or seconds per unit if that is more than one.

    >>> _rate(0.25, "turns"), _rate(12.34, "turns"), _rate(None, "turns")
    ('4.0 s/turn', '12.3 turns/s', '')
    """
    if not per_second:
        return ""
    if per_second < 1:
        return f"{1 / per_second:.1f} s/{unit.removesuffix('s')}"
    return f"{per_second:.{1 if per_second < 100 else 0}f} {unit}/s"


def _clock(seconds: float | None) -> str:
    """Return a duration as hours, minutes and seconds.

    >>> _clock(5), _clock(3723.4), _clock(None)
    ('0:05', '1:02:03', '-:--')
    """
    if seconds is None:
        return "-:--"
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
