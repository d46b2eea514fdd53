"""The guard's table for the terminal. Computes nothing."""

from collections.abc import Mapping
from typing import Any

from rich.table import Table

from trainer.guard.measures import guard_rows, guard_subject
from trainer.util.terminal import folding_table


def guard_table(section: Mapping[str, Any]) -> Table:
    """Return what the guard found before and after training; `section` is `guard` of `metrics.json`."""
    table = folding_table(
        "metric", "before", "after", "better", title=f"What was good before: {guard_subject(section)}"
    )
    for row in guard_rows(section):
        table.add_row(row.label, row.before, row.after, row.better)
    return table
