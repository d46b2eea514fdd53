"""Tables of scores, comparisons and a run's states, for the terminal. Computes nothing."""

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from rich.console import RenderableType
from rich.table import Table

from trainer.scoring.compare import Comparison
from trainer.scoring.rates import RATES
from trainer.scoring.score import MACRO_F1, Scores
from trainer.util.terminal import Name, folding_table

_N_CONFUSIONS = 10
_N_FLIPS = 20
_BETTER = {rate.name: rate.better for rate in RATES} | {MACRO_F1: "higher"}
_ARROW = {"higher": "↑", "lower": "↓"}


_ROWS: tuple[tuple[str, str, str], ...] = (
    ("turn_exact", "turns exactly right", "higher"),
    ("tool_name_f1", "tool name F1", "higher"),
    ("tool_name_precision", "tool name precision", "higher"),
    ("tool_name_recall", "tool name recall", "higher"),
    ("arguments_parse_rate", "arguments that parse", "higher"),
    ("arguments_exact_match", "arguments exact match", "higher"),
    ("hallucination_rate", "hallucinated calls", "lower"),
    ("hallucination_rate_answered", "hallucinated calls, answered turns", "lower"),
    ("missed_call_rate", "missed calls", "lower"),
    ("missed_call_rate_answered", "missed calls, answered turns", "lower"),
    ("session_exact", "sessions exactly right", "higher"),
    ("perplexity", "perplexity", "lower"),
)

Metrics = Mapping[str, Any]


def score_tables(scores: Scores) -> Iterator[RenderableType]:
    """The rates with their intervals, the counts, decisions, tools (worst first), and the most common confusions."""
    rates = folding_table("metric", "better", "value", "95% interval", title="Tool-call metrics")
    for name, better in _BETTER.items():
        interval = scores.intervals.get(name)
        shown = _share(scores.metrics[name])
        rates.add_row(Name(name), _ARROW[better], shown + _failures(scores.metrics, better), _interval(interval))
    yield rates
    counts = folding_table("count", "n", title="Counts")
    for name, value in scores.metrics.items():
        if name.startswith("n_"):
            counts.add_row(Name(name), str(value))
    yield counts
    yield _decision_table(scores)
    tools = folding_table("tool", "gold", "predicted", "name F1", "exact recall", title="Tools, worst first")
    for row in scores.per_tool:
        tools.add_row(Name(row.name), str(row.n_gold), str(row.n_predicted), _share(row.f1), _share(row.exact_recall))
    yield tools
    yield from _confusion_table(scores)


def comparison_tables(comparison: Comparison) -> Iterator[RenderableType]:
    """The differences (this minus other), and the turns that flipped."""
    table = folding_table("metric", "better", "other", "this", "difference", "95% interval", "p", title="Comparison")
    for name, row in comparison.differences.items():
        table.add_row(
            Name(name),
            _ARROW[_BETTER[name]],
            _share(row.first) + _failures(comparison.first.metrics, _BETTER[name]),
            _share(row.second) + _failures(comparison.second.metrics, _BETTER[name]),
            f"{row.difference:+.3f}{' *' if row.verdict else ''}",  # a character, since a log file shows no color
            _interval(row.interval, signed=True),
            _share(row.p_value),
        )
    yield table
    n_gained = sum(flip.gained for flip in comparison.flips)
    yield (
        f"{comparison.n_paired} turns compared, {comparison.n_unpaired} left out; "
        f"{n_gained} became exact, {len(comparison.flips) - n_gained} stopped being exact"
    )
    yield comparison.conclusion()
    yield "* = differs beyond chance (sign-flip test over sessions, p < 0.05; corrected for all rates but turn_exact)"
    if comparison.flips:
        yield _flip_table(comparison)


def _decision_table(scores: Scores) -> Table:
    decided = list(next(iter(scores.decisions.values())))
    table = folding_table("gold \\ predicted", *decided, title="Decisions")
    for gold, row in scores.decisions.items():
        table.add_row(gold, *(str(n) for n in row.values()))
    return table


def _confusion_table(scores: Scores) -> Iterator[Table]:
    cells = [
        (n, gold, predicted)
        for gold, row in scores.confusion.items()
        for predicted, n in row.items()
        if gold != predicted
    ]
    if cells:
        table = folding_table("gold", "predicted", "n", title="Most common confusions")
        for n, gold, predicted in sorted(cells, key=lambda cell: (-cell[0], cell[1:]))[:_N_CONFUSIONS]:
            table.add_row(Name(gold), Name(predicted), str(n))
        yield table


def _flip_table(comparison: Comparison) -> Table:
    n_hidden = max(len(comparison.flips) - _N_FLIPS, 0)
    note = f" (first {_N_FLIPS}; {n_hidden} more with --json)" if n_hidden else ""
    table = folding_table("session", "turn", "change", "why not exact", title=f"Flipped turns{note}")
    for flip in comparison.flips[:_N_FLIPS]:
        change = "became exact" if flip.gained else "stopped being exact"
        table.add_row(Name(flip.session_id), str(flip.turn), change, ", ".join(flip.reasons))
    return table


def _share(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}"


def _interval(interval: tuple[float, float] | None, *, signed: bool = False) -> str:
    if interval is None:
        return "–"
    form = "+.3f" if signed else ".3f"
    return f"[{interval[0]:{form}}, {interval[1]:{form}}]"


def before_after_table(states: Mapping[str, Metrics], *, intervals: bool = False) -> Table:
    """The headline metrics of each evaluated state (`base`, `final`) side by side, optionally with 95% intervals."""
    table = Table(title="Tool calls on unseen sessions")
    table.add_column("metric", overflow="fold")
    for name in states:
        table.add_column(name, justify="right", overflow="fold")
    table.add_column("better", overflow="fold")
    for row in state_rows(states):
        ranges = row.intervals if intervals else [""] * len(row.cells)
        cells = (cell + (f" ({bounds})" if bounds else "") for cell, bounds in zip(row.cells, ranges, strict=True))
        table.add_row(row.label, *cells, row.better)
    return table


class StateRow(NamedTuple):
    """A headline metric: its key and name, which direction is better, and by state its value and its 95% interval."""

    key: str
    label: str
    better: str
    cells: tuple[str, ...]
    intervals: tuple[str, ...]


def state_rows(states: Mapping[str, Metrics]) -> list[StateRow]:
    """The headline metrics that the states have, as text. A failed or cut answer is named beside rates it can lower."""
    have_errors = any(state.get("n_errors") for state in states.values())
    return [
        StateRow(
            key,
            label,
            better,
            cells=tuple(_cell(state, key, better) for state in states.values()),
            intervals=tuple(_range(state, key) for state in states.values()),
        )
        for key, label, better in _ROWS
        if any(key in state for state in states.values()) and (have_errors or not key.endswith("_answered"))
    ]


def _cell(metrics: Metrics, key: str, better: str) -> str:
    return _number(metrics.get(key)) + ("" if key == "perplexity" else _failures(metrics, better))


def _failures(metrics: Metrics, better: str) -> str:
    """The failed and cut answers, beside a rate that is better if it is lower: they make no calls, right or wrong."""
    if better == "higher":
        return ""
    counts = ((metrics.get("n_errors"), "failed"), (metrics.get("n_truncated"), "cut"))
    text = ", ".join(f"{n} {what}" for n, what in counts if n)
    return f" [{text}]" if text else ""


def _number(value: float | None) -> str:
    if value is None:
        return "–"
    return f"{value:.3f}" if abs(value) < 1000 else f"{value:.3g}"


def _range(state: Metrics, key: str) -> str:
    interval = (state.get("intervals") or {}).get(key)
    return f"{interval[0]:.3f}–{interval[1]:.3f}" if interval else ""
