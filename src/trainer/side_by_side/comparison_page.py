"""The page of a comparison: differences, curves, settings that differ, and flipped turns. Compares nothing itself."""

import json
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from trainer.reports.page import render_page
from trainer.reports.views import AnswerView, ArgumentView, Badge, CallView, Cell, Column, Fact, Table, TurnView
from trainer.scoring.compare import Comparison, Difference, Flip
from trainer.side_by_side.comparing import SidesCompared
from trainer.side_by_side.curves import run_charts
from trainer.side_by_side.sides import Side
from trainer.side_by_side.tables import TEST, better_arrow, letters, sentences
from trainer.types import Prediction

_MOST_CARDS = 100


class _Differences(NamedTuple):
    table: Table
    lines: Sequence[str]


class _Flips(NamedTuple):
    key: str
    title: str
    n_all: int
    cards: Sequence[TurnView]


def comparison_page(compared: SidesCompared) -> str:
    """Return the page as HTML. Reads the histories of the runs."""
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
        flips=[_flips(compared.sides[0], side, one, name) for name, side, one in others if one.flips],
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


def _flips(first: Side, second: Side, comparison: Comparison, letter: str) -> _Flips:
    sides = {name: _by_turn(side) for name, side in (("A", first), (letter, second))}
    worst_first = sorted(comparison.flips, key=lambda flip: flip.gained)[:_MOST_CARDS]
    cards = [_card(flip, sides, f"turn-{letter}-{index}") for index, flip in enumerate(worst_first)]
    return _Flips(f"flips-{letter}", f"Flipped turns in {letter}", len(comparison.flips), cards)


def _by_turn(side: Side) -> Mapping[tuple[str, int], Prediction]:
    return {(turn.session_id, turn.turn): turn for turn in side.predictions}


def _card(flip: Flip, sides: Mapping[str, Mapping[tuple[str, int], Prediction]], key: str) -> TurnView:
    place = (flip.session_id, flip.turn)
    first, second = sides
    exact_in = second if flip.gained else first
    gold = sides[first][place]
    calls = tuple(_call(call.name, call.arguments) for call in gold.gold_calls)
    answers = [AnswerView("gold", calls, gold.gold_content)]
    for name, turns in sides.items():
        badge = Badge("exact", "good") if name == exact_in else Badge(", ".join(flip.reasons), "bad")
        answers.append(_answer(name, turns[place], badge))
    change = Badge("became exact", "good") if flip.gained else Badge("stopped being exact", "bad")
    return TurnView(key, f"{flip.session_id}, turn {flip.turn}", (change,), tuple(answers), {})


def _answer(name: str, turn: Prediction, badge: Badge) -> AnswerView:
    calls = tuple(
        _call(call.name, call.arguments)
        if call.status == "ok" and call.name is not None and call.arguments is not None
        else CallView(call.name or "no name", "bad", raw=call.raw, note=call.status)
        for call in turn.calls
    )
    return AnswerView(name, calls, turn.content, (badge,), turn.error)


def _call(name: str, arguments: Mapping[str, Any]) -> CallView:
    shown = (ArgumentView(key, json.dumps(value, ensure_ascii=False)) for key, value in arguments.items())
    return CallView(name, "plain", tuple(shown))
