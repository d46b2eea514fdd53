"""Show the plan and the result of a curve in a terminal of 80 columns. Computes nothing."""

from collections.abc import Iterator

from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from trainer.learning_curve.curve import Curve
from trainer.learning_curve.measured import SHOWN_RATES, Figures
from trainer.learning_curve.plan import Plan, PlannedRun
from trainer.side_by_side.runs_table import shown
from trainer.side_by_side.tables import cell, plain_table

_HEADERS = dict(zip(SHOWN_RATES, ("exact", "F1", "hall.", "miss."), strict=True))
_MEANINGS = "; ".join((
    "tokens: supervised tokens of the sessions",
    "exact: turn_exact with its 95% interval",
    *(f"{header}: {name}" for name, header in _HEADERS.items() if header != "exact"),
    "ppl: perplexity",
))  # fmt: skip
_STATES = {"finished": "finished", "interrupted": "goes on", "new": "to train"}


def plan_tables(plan: Plan) -> Iterator[RenderableType]:
    """The runs in the order of training, then what the curve will not show."""
    numbers = ("sessions", "supervised tokens", "steps")
    table = plain_table("share", *numbers, "state", "folder", title="Runs, in this order", numbers=numbers)
    for run in plan.runs:
        table.add_row(*_planned_cells(run))
    yield table
    yield cell(f"Folder: {plan.folder}")
    for note in plan.notes:
        yield Text(f"Note: {note}")


def curve_tables(curve: Curve) -> Iterator[RenderableType]:
    """The figures of every share, what the headers mean, and the verdict."""
    yield _figures_table(curve)
    yield Text(_MEANINGS)
    if curve.verdict is not None:
        conclusion, *reasons = curve.verdict.lines()
        yield ""
        yield Text(conclusion, style="bold")
        yield from map(Text, reasons)


def _planned_cells(run: PlannedRun) -> tuple[RenderableType, ...]:
    numbers = (f"{run.n_sessions:,}", f"{run.n_supervised_tokens:,}", f"{run.n_steps:,}")
    return (f"{run.percent}%", *numbers, _STATES[run.state], f"{run.folder.name}/")


def _figures_table(curve: Curve) -> Table:
    numbers = ("share", "sessions", "tokens", "steps", *_HEADERS.values(), "ppl")
    table = plain_table(*numbers, title="On the same test sessions", numbers=numbers)
    if curve.base is not None:
        table.add_row("base", "0", "0", "0", *_figure_cells(curve.base))
    for point in curve.points:
        counts = (f"{point.n_sessions:,}", f"{point.n_supervised_tokens:,}", f"{point.n_steps:,}")
        table.add_row(f"{point.percent}%", *counts, *_figure_cells(point.final))
    return table


def _figure_cells(figures: Figures) -> Iterator[Text]:
    for name in SHOWN_RATES:
        interval = figures.intervals[name] if name == "turn_exact" else None
        bounds = "" if interval is None else f" [{interval[0]:.3f}, {interval[1]:.3f}]"
        yield Text(shown(name, figures.rates[name]) + bounds)
    yield Text(shown("perplexity", figures.perplexity))
