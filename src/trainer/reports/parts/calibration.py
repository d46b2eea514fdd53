"""What a bias on calls does: missed against hallucinated calls, and the rates with and without it. Fits nothing."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from trainer.reports.charts import LineChart, Point, Series, line_chart
from trainer.reports.views import Cell, Column, Table

_FITTED, _JUDGED = "held-out training sessions", "evaluation sessions"
_WHY_NONE = {
    "does not help": "no bias lowers the rates of missed and hallucinated calls in cross-validation on {judged}",
    "too few turns": "{judged} are too few to choose one",
    "no opening token": "no token begins calls and nothing else",
}


@dataclass(frozen=True, slots=True)
class CalibrationView:
    """The section about the bias: what was chosen and why, the curve, and the rates."""

    sentence: str
    chart: LineChart | None
    rates: Table | None


def calibration_view(record: Mapping[str, Any]) -> CalibrationView | None:
    """Return the section for the content of a run's calibration file; None if the run has none."""
    if not record:
        return None
    curves = {_FITTED: record}
    if record.get("evaluation"):
        curves[_JUDGED] = record["evaluation"]
    lines = [Series(name, _lowest(found.get("curve") or ())) for name, found in curves.items()]
    if record.get("bias"):
        lines += [Series("without the bias", _point(record["before"])), Series("with it", _point(record["after"]))]
    else:
        lines.append(Series("without a bias", _point(record.get("before") or {})))
    chart = line_chart(
        "calibration", "Missed against hallucinated calls, for every bias", lines,
        x_name="hallucinated calls, % of no-call turns", y_name="missed calls, % of call turns", from_zero=True,
    )  # fmt: skip
    return CalibrationView(_sentence(record), chart, _rates(curves) if record.get("curve") else None)


def _sentence(record: Mapping[str, Any]) -> str:
    judged = f"{record.get('n_turns', 0):,} turns of {record.get('n_sessions', 0):,} {_FITTED}"
    if not record.get("bias"):
        why = _WHY_NONE.get(str(record.get("note")), "none was chosen")
        return f"Calls get no bias: {why.format(judged=judged)}."
    tokens = ", ".join(repr(token) for token in record.get("tokens") or ())
    return (
        f"The final state was judged with a bias of {record['bias']:+.1f} on the logits of {tokens}, with which calls "
        f"begin. It was chosen on {judged}; the rate of hallucinated calls counts {record.get('tradeoff', 1):g} times "
        "as much as that of missed calls. Every request to the served model should carry it."
    )


def _lowest(curve: Sequence[Mapping[str, Any]]) -> tuple[Point, ...]:
    """Return a curve in per cent; of points with equally many hallucinated calls, the one with the fewest missed."""
    missed: dict[float, float] = {}
    for point in (found for entry in curve for found in _point(entry)):
        missed[point.x] = min(point.y, missed.get(point.x, point.y))
    return tuple(Point(x, y) for x, y in sorted(missed.items()))


def _point(rates: Mapping[str, Any]) -> tuple[Point, ...]:
    missed, hallucinated = rates.get("missed"), rates.get("hallucinated")
    if missed is None or hallucinated is None:
        return ()
    return (Point(round(100 * hallucinated, 2), round(100 * missed, 2)),)


def _rates(records: Mapping[str, Mapping[str, Any]]) -> Table:
    columns = (
        Column("turns of"), Column("turns", is_number=True),
        Column("missed without", is_number=True), Column("missed with", is_number=True),
        Column("hallucinated without", is_number=True), Column("hallucinated with", is_number=True),
    )  # fmt: skip
    rows = tuple(
        (
            Cell(name),
            Cell(f"{record['n_turns']:,}", record["n_turns"]),
            *(_share(record[state].get(kind)) for kind in ("missed", "hallucinated") for state in ("before", "after")),
        )
        for name, record in records.items()
    )
    note = (
        "Decisions at the tokens of gold, by the margins of a call. The answers themselves can leave gold before a "
        "call, so the metrics of the final state differ a little."
    )
    if (agreement := records.get(_JUDGED, {}).get("agreement")) is not None:
        note += f" The margins foresee {agreement:.1%} of the decisions of the evaluation."
    return Table("Wrong decisions without and with the bias", columns, rows, note)


def _share(value: float | None) -> Cell:
    return Cell("–") if value is None else Cell(f"{value:.3f}", value)
