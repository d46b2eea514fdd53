"""The page of a list of runs: one table that can be sorted by every column. Reads no file."""

from collections.abc import Sequence

from trainer.reports.page import render_page
from trainer.reports.views import Cell, Column, Table
from trainer.side_by_side.all_runs import METRICS, RunSummary
from trainer.side_by_side.runs_table import duration, shown


def runs_page(runs: Sequence[RunSummary], *, title: str) -> str:
    """Return the page as HTML."""
    words = (Column(name) for name in ("run", "state", "date", "base model"))
    numbers = (Column(name, is_number=True) for name in ("steps", *METRICS, "training time"))
    caption = "All runs; the metrics are those of the final state"
    table = Table(caption, (*words, *numbers), tuple(map(_row, runs)))
    problems = [f"{run.name}: {run.problem}" for run in runs if run.problem is not None]
    return render_page("runs.html.jinja", title=title, table=table, problems=problems)


def _row(run: RunSummary) -> tuple[Cell, ...]:
    steps = Cell("–") if run.n_steps is None else Cell(f"{run.n_steps:,}", run.n_steps)
    return (
        Cell(run.name),
        Cell(run.state, tone="plain" if run.state == "finished" else "warn"),
        Cell(run.date[:10].replace("-", "\N{NON-BREAKING HYPHEN}")),
        Cell(run.base_model or "–"),
        steps,
        *(Cell(shown(name, run.metrics.get(name)), run.metrics.get(name)) for name in METRICS),
        Cell(duration(run.runtime_s), run.runtime_s),
    )
