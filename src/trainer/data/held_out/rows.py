"""Split rows of tokens into those to train on and those held out, with a report on each. Chooses no session."""

import dataclasses
from collections.abc import Collection

import datasets
import numpy as np

from trainer.data.report import SplitReport


def split_off(rows: datasets.Dataset, held: Collection[str]) -> tuple[datasets.Dataset, datasets.Dataset]:
    """Return the rows of all other sessions, and those of the sessions that are held out."""
    is_held = np.isin(np.asarray(rows["session_id"], dtype=object), list(held))
    return rows.select(np.flatnonzero(~is_held)), rows.select(np.flatnonzero(is_held))


def split_report(
    whole: SplitReport, train: datasets.Dataset, held: datasets.Dataset, *, n_held: int
) -> tuple[SplitReport, SplitReport | None]:
    """Return the reports on the rows to train on and on those held out, if any, from the report on both together."""
    if not n_held:
        return whole, None
    rest = SplitReport(n_held, *row_sizes(held), n_dropped_sessions=0, oversized={}, dropped_oversized=False)
    rest = dataclasses.replace(rest, n_trained_turns=sum(map(len, held["turns"])))
    n_rows, n_tokens, n_supervised_tokens = row_sizes(train)
    kept = dataclasses.replace(
        whole,
        n_sessions=whole.n_sessions - n_held,
        n_rows=n_rows,
        n_tokens=n_tokens,
        n_supervised_tokens=n_supervised_tokens,
        n_trained_turns=whole.n_trained_turns - rest.n_trained_turns,
    )
    return kept, rest


def row_sizes(rows: datasets.Dataset) -> tuple[int, int, int]:
    """Return the numbers of rows, of tokens and of supervised tokens."""
    supervised = (sum(ends) - sum(starts) for starts, ends in zip(rows["starts"], rows["ends"], strict=True))
    return len(rows), sum(rows["length"]), sum(supervised)
