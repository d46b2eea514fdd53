"""Say what a run came to: the before/after table, in the terminal and as Markdown. Computes no metric."""

from collections.abc import Mapping, Sequence
from typing import Any

from rich.table import Table

_ROWS: tuple[tuple[str, str, str], ...] = (
    ("tool_name_f1", "tool name F1", "higher"),
    ("tool_name_precision", "tool name precision", "higher"),
    ("tool_name_recall", "tool name recall", "higher"),
    ("arguments_parse_rate", "arguments that parse", "higher"),
    ("arguments_exact_match", "arguments exact match", "higher"),
    ("hallucination_rate", "hallucinated calls", "lower"),
    ("missed_call_rate", "missed calls", "lower"),
    ("turn_exact", "turns exactly right", "higher"),
    ("session_exact", "sessions exactly right", "higher"),
    ("perplexity", "perplexity", "lower"),
)
_COUNTS = ("n_sessions", "n_turns", "n_gold_calls", "n_errors", "n_truncated", "n_skipped_for_length")

Metrics = Mapping[str, Any]


def before_after_table(states: Mapping[str, Metrics], *, intervals: bool = False) -> Table:
    """The headline metrics of each evaluated state (`base`, `final`), side by side, on request with 95% intervals."""
    table = Table(title="Tool calls on unseen sessions")
    table.add_column("metric")
    for name in states:
        table.add_column(name, justify="right")
    table.add_column("better")
    for key, label, cells, better in _cells(states):
        table.add_row(label, *(_with_intervals(states, key, cells) if intervals else cells), better)
    return table


def report_markdown(title: str, states: Mapping[str, Metrics], notes: Sequence[str]) -> str:
    """The same table as Markdown, with 95% intervals, the counts behind it, and `notes` as a list."""
    lines = [
        f"# {title}",
        "",
        f"| metric | {' | '.join(states)} | better |",
        "|---|" + "---:|" * len(states) + "---|",
    ]
    for key, label, cells, better in _cells(states):
        lines.append(f"| {label} | {' | '.join(_with_intervals(states, key, cells))} | {better} |")
    lines += ["", "Counts: " + "; ".join(f"{name}: {_counts(state)}" for name, state in states.items())]
    return "\n".join([*lines, "", *(f"- {note}" for note in notes), ""])


def _cells(states: Mapping[str, Metrics]) -> list[tuple[str, str, list[str], str]]:
    return [
        (key, label, [_number(s.get(key)) for s in states.values()], better)
        for key, label, better in _ROWS
        if any(key in s for s in states.values())
    ]


def _with_intervals(states: Mapping[str, Metrics], key: str, cells: Sequence[str]) -> list[str]:
    return [cell + _interval(state, key) for cell, state in zip(cells, states.values(), strict=True)]


def _number(value: float | None) -> str:
    if value is None:
        return "–"
    return f"{value:.3f}" if abs(value) < 1000 else f"{value:.3g}"


def _interval(state: Metrics, key: str) -> str:
    interval = (state.get("intervals") or {}).get(key)
    return f" ({interval[0]:.3f}–{interval[1]:.3f})" if interval else ""


def _counts(state: Metrics) -> str:
    return ", ".join(f"{state[key]} {key.removeprefix('n_').replace('_', ' ')}" for key in _COUNTS if key in state)
