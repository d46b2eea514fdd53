"""The page of a comparison: differences, curves, settings that differ, and flipped turns. Compares nothing itself."""

from collections.abc import Sequence
from typing import Any, NamedTuple

from trainer.reports.page import render_page
from trainer.reports.parts.judged import judge_state
from trainer.reports.parts.turns import ShownTurns, show_turns
from trainer.reports.views import Cell, Column, Fact, Table
from trainer.scoring.compare import Comparison, Difference
from trainer.side_by_side.comparing import SidesCompared
from trainer.side_by_side.curves import run_charts
from trainer.side_by_side.sides import Side
from trainer.side_by_side.tables import TEST, better_arrow, letters, sentences


class _Differences(NamedTuple):
    table: Table
    lines: Sequence[str]


class _Flips(NamedTuple):
    key: str
    title: str
    turns: ShownTurns


def comparison_page(compared: SidesCompared) -> str:
    """Return the page as HTML. Reads the histories and the conversations of the sides."""
    names = letters(len(compared.sides))
    others = list(zip(names[1:], compared.sides[1:], compared.comparisons, strict=True))
    return render_page(
        "comparison.html.jinja",
        title="Comparison",
        facts=[
            Fact(f"{name}{' (reference)' * (name == 'A')}", side.name)
            for name, side in zip(names, compared.sides, strict=True)
        ],
        differences=[_Differences(_table(one, name), tuple(sentences(one, name))) for name, _, one in others],
        notes=compared.notes,
        charts=run_charts(compared.sides),
        settings=_settings(compared, names),
        flips=[_flips(compared.sides[0], side, compared, one, name) for name, side, one in others if one.flips],
    )


def _table(comparison: Comparison, letter: str) -> Table:
    columns = (Column("metric"), *(Column(name, is_number=True) for name in ("A", letter, "change", "p")))
    rows = tuple(_row(name, row) for name, row in comparison.differences.items())
    note = "↑ higher is better, ↓ lower is better. Intervals are 95% intervals over sessions. better, worse: "
    note += f"{TEST}."
    return Table(f"{letter} minus A", columns, rows, note)


def _row(name: str, row: Difference) -> tuple[Cell, ...]:
    interval = None if row.interval is None else f"[{row.interval[0]:+.3f}, {row.interval[1]:+.3f}]"
    verdict = "" if row.verdict is None else f" {row.verdict}"
    tone: Any = {"better": "good", "worse": "bad", None: "plain"}[row.verdict]
    return (
        Cell(f"{name} {better_arrow(name)}"),
        Cell(f"{row.first:.3f}", row.first),
        Cell(f"{row.second:.3f}", row.second),
        Cell(f"{row.difference:+.3f}{verdict}", row.difference, tone=tone, note=interval),
        Cell("–" if row.p_value is None else f"{row.p_value:.3f}", row.p_value),
    )


def _settings(compared: SidesCompared, names: Sequence[str]) -> Table | None:
    if not compared.settings:
        return None
    rows = tuple((Cell(key), *map(Cell, values)) for key, values in compared.settings.items())
    return Table("Values by side", (Column("setting"), *map(Column, names)), rows)


def _flips(first: Side, second: Side, compared: SidesCompared, comparison: Comparison, letter: str) -> _Flips:
    flipped = {(flip.session_id, flip.turn) for flip in comparison.flips}
    states = [
        judge_state(
            name, [turn for turn in side.predictions if (turn.session_id, turn.turn) in flipped], compared.tools
        )
        for name, side in (("A", first), (letter, second))
    ]
    conversations = {**second.conversations(), **first.conversations()}
    shown = show_turns(states, conversations, prefix=f"{letter}-")
    return _Flips(f"flips-{letter}", f"Flipped turns in {letter}", shown)
