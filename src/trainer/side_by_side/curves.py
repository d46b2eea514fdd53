"""Curves of several runs over each other, from their histories. Draws nothing."""

from collections.abc import Iterable, Sequence
from pathlib import Path

from trainer.errors import DataError
from trainer.reports.charts import LineChart, Point, Series, line_chart
from trainer.run_layout import RunLayout
from trainer.side_by_side.sides import Side
from trainer.util.records import read_object

_CURVES = (
    ("loss", "Training loss", "nats per token"),
    ("eval_loss", "Evaluation loss", "nats per token"),
    ("eval_turn_exact", "Turns exactly right", "share"),
    ("learning_rate", "Learning rate", "per step"),
)


def run_charts(sides: Sequence[Side]) -> list[LineChart]:
    """Return a chart of each curve that a run of the sides has; a run that is two sides is drawn once."""
    runs = {side.run.absolute(): side.run for side in sides if side.run is not None}
    histories = {str(run): list(_lines(RunLayout(run).history)) for run in runs.values()}
    charts = []
    for key, title, unit in _CURVES:
        series = [Series(name, _points(lines, key)) for name, lines in histories.items()]
        chart = line_chart(f"curve-{key}", title, series, x_name="step", y_name=unit)
        if chart is not None and len(chart.table.rows) > 1:
            charts.append(chart)
    return charts


def _lines(history: Path) -> Iterable[dict[str, object]]:
    if not history.is_file():
        return
    for line in history.read_bytes().split(b"\n"):
        try:
            yield read_object(line)
        except DataError:  # the last line of an interrupted run may be torn
            continue


def _points(lines: Sequence[dict[str, object]], key: str) -> tuple[Point, ...]:
    found: dict[float, float] = {}
    for line in lines:
        step, value = line.get("step"), line.get(key)
        if isinstance(step, int) and isinstance(value, int | float):
            found[step] = float(value)
    return tuple(Point(step, found[step]) for step in sorted(found))
