"""Show a list of runs as one table of 80 columns. Names are broken over lines, never cut. Computes nothing."""

from collections.abc import Iterator, Sequence

from rich.console import RenderableType
from rich.text import Text

from trainer.side_by_side.all_runs import METRICS, RunSummary
from trainer.side_by_side.tables import cell, plain_table

_HEADERS = dict(zip(METRICS, ("exact", "F1", "args", "hall.", "miss.", "ppl"), strict=True))


def run_tables(runs: Sequence[RunSummary]) -> Iterator[RenderableType]:
    """The table of runs in their order, what its headers mean, and why runs cannot be read."""
    numbers = ("steps", *_HEADERS.values(), "time")
    count = f"{len(runs)} run{'' if len(runs) == 1 else 's'}"
    table = plain_table("run, date, base model", *numbers, title=count, numbers=numbers)
    for run in runs:
        cells = [shown(key, run.metrics.get(key)) for key in METRICS]
        steps = "–" if run.n_steps is None else str(run.n_steps)
        table.add_row(_title(run), steps, *cells, duration(run.runtime_s))
    yield table
    if runs:
        yield Text("\n" + "; ".join(f"{short}: {name}" for name, short in _HEADERS.items()) + "; time: training steps")
    for run in runs:
        if run.problem is not None:
            yield cell(f"{run.name}: {run.problem}")


def shown(key: str, value: float | None) -> str:
    """Return a metric as text: rates with three decimals, a large perplexity in three digits.

    >>> shown("turn_exact", 0.5), shown("perplexity", 123456.0), shown("turn_exact", None)
    ('0.500', '1e+05', '–')
    """
    if value is None:
        return "–"
    return f"{value:.3f}" if value < 10 else f"{value:.1f}" if value < 1000 else f"{value:.0e}"


def duration(seconds: float | None) -> str:
    """Return a time as text.

    >>> duration(3700), duration(59.6), duration(None)
    ('1h02', '1m', '–')
    """
    if seconds is None:
        return "–"
    minutes = round(seconds / 60)
    if seconds < 59.5:
        return f"{seconds:.0f}s"
    return f"{minutes}m" if minutes < 60 else f"{minutes // 60}h{minutes % 60:02}"


def _title(run: RunSummary) -> Text:
    title = cell(run.name)
    if run.state != "finished":
        title.append(f" ({run.state})")
    title.append(f"\n  {run.date[:10]}")
    if run.base_model is not None:
        title.append("\n  ").append_text(cell(run.base_model))
    return title
