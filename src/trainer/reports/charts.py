"""Compute the coordinates of line charts and histograms; the templates draw them as SVG. Knows no metric.

A chart library would need a script or an image of its own in the page. A few polylines need neither, can be read aloud,
and print sharply.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from trainer.reports.views import Cell, Column, Table

WIDTH, HEIGHT = 440, 250
_LEFT, _RIGHT, _TOP, _BOTTOM = 52, 12, 12, 40
_MOST_POINTS = 300
_MOST_MARKERS = 40
N_LINE_STYLES = 6


class Point(NamedTuple):
    """A place in the coordinates of the data or of the drawing."""

    x: float
    y: float


class Tick(NamedTuple):
    """A mark on an axis: its place in the drawing and its number."""

    at: float
    text: str


@dataclass(frozen=True, slots=True)
class Series:
    """A line: its name and its points in the order of x."""

    name: str
    points: tuple[Point, ...]


@dataclass(frozen=True, slots=True)
class Line:
    """A drawn line: `points` as SVG writes them, `style` from 0, the markers, and the last value as text."""

    name: str
    style: int
    points: str
    markers: tuple[Point, ...]
    last: str


@dataclass(frozen=True, slots=True)
class Frame:
    """The axes of a chart: its corners in the drawing, ticks, and the names of the axes."""

    x_name: str
    y_name: str
    x_ticks: tuple[Tick, ...]
    y_ticks: tuple[Tick, ...]
    width: int = WIDTH
    height: int = HEIGHT
    left: int = _LEFT
    right: int = WIDTH - _RIGHT
    top: int = _TOP
    bottom: int = HEIGHT - _BOTTOM


@dataclass(frozen=True, slots=True)
class LineChart:
    """Lines over each other. `key` is unique in the page; `description` is for people who do not see the lines."""

    key: str
    title: str
    description: str
    frame: Frame
    lines: tuple[Line, ...]
    table: Table


class Bar(NamedTuple):
    """A drawn bar and its label."""

    x: float
    y: float
    width: float
    height: float
    text: str


@dataclass(frozen=True, slots=True)
class Histogram:
    """Counts of values in intervals, and a `limit` as a vertical line, if there is one in reach."""

    key: str
    title: str
    description: str
    frame: Frame
    bars: tuple[Bar, ...]
    limit: Tick | None
    table: Table


class _Scale:
    """From numbers to places in the drawing."""

    def __init__(self, low: float, high: float, *, start: float, end: float) -> None:
        if not high > low:
            low, high = low - 0.5, high + 0.5
        self.low, self.high, self._start, self._end = low, high, start, end

    def __call__(self, value: float) -> float:
        share = (value - self.low) / (self.high - self.low)
        return round(self._start + share * (self._end - self._start), 1)

    def ticks(self, values: Sequence[float]) -> tuple[Tick, ...]:
        return tuple(Tick(self(value), number(value)) for value in values)


def number(value: float) -> str:
    """Return a number with as many digits as a reader needs.

    >>> [number(x) for x in (1234567.0, 12.0, 0.25, 0.00012345)]
    ['1,234,567', '12', '0.25', '0.000123']
    """
    if value == round(value) and abs(value) < 1e15:
        return f"{round(value):,}"
    return f"{value:.3g}" if abs(value) < 1000 else f"{value:,.0f}"


def nice_ticks(low: float, high: float, *, most: int = 6) -> list[float]:
    """Return at most `most` round numbers from `low` to `high`, whose distances are 1, 2 or 5 times a power of ten.

    >>> nice_ticks(0.0, 47.0)
    [0.0, 10.0, 20.0, 30.0, 40.0]
    """
    if not high > low:
        return [low]
    step = _nice_step(low, high, most)
    return _multiples(step, math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9))


def _nice_step(low: float, high: float, most: int) -> float:
    raw = (high - low) / max(most - 1, 1)
    power = 10.0 ** math.floor(math.log10(raw))
    return next(factor * power for factor in (1, 2, 5, 10) if factor * power >= raw * (1 - 1e-9))


def _multiples(step: float, first: int, last: int) -> list[float]:
    return [float(f"{index * step:.12g}") for index in range(first, last + 1)]


def line_chart(
    key: str, title: str, series: Sequence[Series], *, x_name: str, y_name: str, from_zero: bool = False
) -> LineChart | None:
    """Return the chart of some series; None if no series has a finite point. A long series is drawn with 300 points."""
    finite = [_thinned(Series(s.name, tuple(p for p in s.points if _is_finite(p)))) for s in series]
    finite = [s for s in finite if s.points]
    if not finite:
        return None
    xs = [p.x for s in finite for p in s.points]
    ys = [p.y for s in finite for p in s.points] + ([0.0] if from_zero else [])
    y_ticks = _around(min(ys), max(ys))
    x_scale = _Scale(min(xs), max(xs), start=_LEFT + 4, end=WIDTH - _RIGHT - 4)
    y_scale = _Scale(y_ticks[0], y_ticks[-1], start=HEIGHT - _BOTTOM, end=_TOP)
    x_ticks = [value for value in nice_ticks(min(xs), max(xs)) if value == int(value)] or [min(xs)]
    frame = Frame(x_name, y_name, x_scale.ticks(x_ticks), y_scale.ticks(y_ticks))
    lines = tuple(_line(s, style, x_scale, y_scale) for style, s in enumerate(finite))
    return LineChart(key, title, _described(finite, x_name), frame, lines, _table(title, finite, x_name))


def _is_finite(point: Point) -> bool:
    return math.isfinite(point.x) and math.isfinite(point.y)


def _thinned(series: Series) -> Series:
    """The series with the lowest and the highest point of each of 150 stretches, if it is long."""
    points = series.points
    if len(points) <= _MOST_POINTS:
        return series
    size = math.ceil(2 * len(points) / _MOST_POINTS)
    kept: list[Point] = []
    for start in range(0, len(points), size):
        part = points[start : start + size]
        kept += sorted({min(part, key=lambda p: p.y), max(part, key=lambda p: p.y)})
    return Series(series.name, tuple(kept))


def _around(low: float, high: float) -> list[float]:
    """Return ticks that enclose a range."""
    if not high > low:
        margin = abs(low) * 0.1 or 0.5
        low, high = low - margin, high + margin
    step = _nice_step(low, high, 5)
    return _multiples(step, math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9))


def _line(series: Series, style: int, x_scale: _Scale, y_scale: _Scale) -> Line:
    drawn = [Point(x_scale(p.x), y_scale(p.y)) for p in series.points]
    markers = tuple(drawn) if len(drawn) <= _MOST_MARKERS else ()
    points = " ".join(f"{p.x:g},{p.y:g}" for p in drawn)
    return Line(series.name, style % N_LINE_STYLES, points, markers, number(series.points[-1].y))


def _described(series: Sequence[Series], x_name: str) -> str:
    parts = []
    for s in series:
        first, last = s.points[0], s.points[-1]
        parts.append(
            f"{s.name}: from {number(first.y)} at {x_name} {number(first.x)} to {number(last.y)} at {number(last.x)}, "
            f"lowest {number(min(p.y for p in s.points))}, highest {number(max(p.y for p in s.points))}"
        )
    return "; ".join(parts) + "."


def _table(title: str, series: Sequence[Series], x_name: str) -> Table:
    values = [dict(s.points) for s in series]
    rows = []
    for x in sorted({p.x for s in series for p in s.points}):
        found = [column.get(x) for column in values]
        cells = [Cell("–") if y is None else Cell(number(y), y) for y in found]
        rows.append((Cell(number(x), x), *cells))
    columns = (Column(x_name, is_number=True), *(Column(s.name, is_number=True) for s in series))
    return Table(f"{title}: the values", columns, tuple(rows))


def histogram(
    key: str, title: str, counts: Sequence[int], *, edges: Sequence[float], x_name: str, y_name: str,
    limit: float | None = None, limit_name: str = "limit",
) -> Histogram | None:  # fmt: skip
    """Return the histogram of counts between consecutive edges, one edge more than counts; None without counts.

    The limit is drawn if it is not more than twice as far as the last edge; the description names it anyway.
    """
    if not sum(counts):
        return None
    is_near = limit is not None and limit <= 2 * edges[-1]
    far = max(edges[-1], limit if is_near and limit is not None else edges[-1])
    y_ticks = [tick for tick in _around(0, max(counts)) if tick == int(tick)]
    x_scale = _Scale(edges[0], far, start=_LEFT, end=WIDTH - _RIGHT)
    y_scale = _Scale(y_ticks[0], y_ticks[-1], start=HEIGHT - _BOTTOM, end=_TOP)
    bars, rows = [], []
    for low, high, n in zip(edges[:-1], edges[1:], counts, strict=True):
        text = f"{number(low)} to {number(high)}"
        left, right, top = x_scale(low), x_scale(high), y_scale(n)
        bars.append(Bar(left + 0.5, top, round(max(right - left - 1, 1), 1), HEIGHT - _BOTTOM - top, f"{text}: {n:,}"))
        rows.append((Cell(text, low), Cell(f"{n:,}", n)))
    frame = Frame(x_name, y_name, x_scale.ticks(nice_ticks(edges[0], far, most=5)), y_scale.ticks(y_ticks))
    line = Tick(x_scale(limit), f"{limit_name} {number(limit)}") if is_near and limit is not None else None
    named = "" if limit is None else f" The {limit_name} is {number(limit)}."
    described = f"{sum(counts):,} values from {number(edges[0])} to {number(edges[-1])} {x_name}.{named}"
    columns = (Column(x_name, is_number=True), Column(y_name, is_number=True))
    return Histogram(
        key, title, described, frame, tuple(bars), line, Table(f"{title}: the counts", columns, tuple(rows))
    )
