"""The tables of a report: metrics by state, what each tool suffers from, decisions, confusions, counts."""

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from typing import Any, get_args

from trainer.guard.measures import guard_rows, guard_subject
from trainer.reports.parts.judged import JudgedState
from trainer.reports.views import Cell, Column, Fact, HeatMap, Table, Tone, heat_map
from trainer.scoring.compare import Comparison
from trainer.scoring.judging import MALFORMED, NO_CALL, Decision, Reason
from trainer.scoring.tables import state_rows

_MOST_TOOLS = 200
_MOST_CONFUSED = 24
_BETTER_WORDS = {"higher": "↑\u00a0higher", "lower": "↓\u00a0lower"}

_FURTHER = (
    ("perplexity_call_tokens", "perplexity of calls", "lower"),
    ("perplexity_prose_tokens", "perplexity of prose", "lower"),
)


def metrics_table(caption: str, states: Mapping[str, Mapping[str, Any]], comparison: Comparison | None) -> Table:
    """Return the headline metrics of states side by side with their 95% intervals.

    With a comparison of the first and the last state, also their difference on the turns that both were asked.
    """
    columns = [Column("metric"), *(Column(name, is_number=True) for name in states)]
    if comparison is not None:
        columns += [Column("difference", is_number=True), Column("beyond chance")]
    columns.append(Column("better"))
    rows = []
    for row in state_rows(states):
        cells = [Cell(row.label)]
        for state, text, interval in zip(states.values(), row.cells, row.intervals, strict=True):
            cells.append(Cell(text, _float(state.get(row.key)), note=f"({interval})" if interval else None))
        rows.append((*cells, *_difference(comparison, row.key), Cell(_BETTER_WORDS[row.better])))
    for key, label, better in _FURTHER:
        values = [_float(state.get(key)) for state in states.values()]
        if any(value is not None for value in values):
            cells = [Cell(label), *(Cell(_shown(value), value) for value in values)]
            rows.append((*cells, *_difference(comparison, key), Cell(_BETTER_WORDS[better])))
    note = (
        "In parentheses: 95% intervals, computed over sessions. In brackets: answers that failed, or were cut at the "
    )
    note += "token limit; what is missing of them counts as no call."
    if comparison is not None:
        note += " Differences have been tested with a sign-flip test over sessions (p < 0.05; all but the headline "
        note += "are corrected for their number)."
    return Table(caption, tuple(columns), tuple(rows), note)


def guard_table(section: Mapping[str, Any]) -> Table | None:
    """Return what the guard found before and after training; None without it. `section` is that of `metrics.json`."""
    columns = (Column("metric"), Column("before", is_number=True), Column("after", is_number=True), Column("better"))
    rows = [
        (Cell(row.label), Cell(row.before), Cell(row.after), Cell(_BETTER_WORDS[row.better]))
        for row in guard_rows(section)
    ]
    note = f"Measured on {guard_subject(section)}. In parentheses: 95% intervals, computed over conversations."
    return Table("What was good before", columns, tuple(rows), note) if rows else None


def _difference(comparison: Comparison | None, key: str) -> tuple[Cell, ...]:
    if comparison is None:
        return ()
    row = comparison.differences.get(key)
    if row is None:
        return Cell("–"), Cell("–")
    interval = f"({row.interval[0]:+.3f} to {row.interval[1]:+.3f})" if row.interval else None
    tone: Tone = {"better": "good", "worse": "bad", None: "plain"}[row.verdict]  # type: ignore[assignment]
    words = {"better": "▲ better", "worse": "▼ worse", None: "no" if row.p_value is not None else "too few sessions"}
    return Cell(f"{row.difference:+.3f}", row.difference, note=interval), Cell(words[row.verdict], tone=tone)


def _float(value: Any) -> float | None:
    return float(value) if isinstance(value, int | float) else None


def _shown(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}" if abs(value) < 1000 else f"{value:.3g}"


def decision_map(state: JudgedState) -> HeatMap:
    """Return how often each decision was made on call turns and on no-call turns."""
    decided: tuple[Decision, ...] = get_args(Decision)
    counts: dict[str, Counter[str]] = {"call": Counter(), "no_call": Counter()}
    for judged in state.judged:
        if judged.verdict.predicted is not None:
            counts[judged.verdict.gold][judged.verdict.predicted] += 1
    named = {_words(gold): {_words(name): n for name, n in row.items()} for gold, row in counts.items()}
    return heat_map(
        f"Decisions ({state.name})", named, row_title="due", column_title="what the model did",
        columns=[_words(name) for name in decided],
    )  # fmt: skip


def _words(name: str) -> str:
    return name.replace("_", " ")


def confusion_map(state: JudgedState) -> HeatMap | None:
    """Return how often each gold name was answered with each name; None without any call.

    With many tools, only those that are confused most.
    """
    counts: dict[str, Counter[str]] = defaultdict(Counter)
    for judged in state.judged:
        for gold, predicted in judged.confusions:
            counts[gold][predicted] += 1
    names = sorted({*counts, *(name for row in counts.values() for name in row)} - {NO_CALL, MALFORMED})
    if not names:
        return None
    wrong = Counter(dict.fromkeys(names, 0))
    for gold, row in counts.items():
        for predicted, n in row.items():
            if gold != predicted:
                wrong.update({gold: n, predicted: n})
    kept = [name for name in names if name in dict(_top(wrong, names))]
    ends = [name for name in (MALFORMED, NO_CALL) if any(name in row for row in counts.values())]
    rows = {name: counts[name] for name in (*kept, NO_CALL) if name in counts}
    note = f"Only the {len(kept)} most confused of {len(names)} tools." if len(kept) < len(names) else None
    right = {name: name for name in kept}
    return heat_map(
        f"Tool names ({state.name})", rows, row_title="gold", column_title="predicted", columns=[*kept, *ends],
        right=right, note=note,
    )  # fmt: skip


def _top(wrong: Counter[str], names: Sequence[str]) -> list[tuple[str, int]]:
    return sorted(((name, wrong[name]) for name in names), key=lambda item: (-item[1], item[0]))[:_MOST_CONFUSED]


def tool_table(state: JudgedState, arguments: Mapping[str, Counter[str]]) -> Table:
    """Return the results of each tool, worst first, and what went wrong. `arguments` counts wrong arguments by tool."""
    fates: dict[str, Counter[str]] = defaultdict(Counter)
    extra: dict[str, Counter[str]] = defaultdict(Counter)  # calls that gold does not have
    for judged in state.judged:
        exact = Counter(judged.exact_names)
        for gold, predicted in judged.confusions:
            if gold == predicted:
                is_exact = exact[gold] > 0
                exact[gold] -= 1
                fates[gold]["exact" if is_exact else "wrong arguments"] += 1
            elif gold == NO_CALL:
                extra[predicted]["made without need"] += 1
            else:
                fates[gold][_fate(predicted)] += 1
                extra[predicted][f"called instead of {gold}"] += 1
    names = sorted({*fates, *extra} - {MALFORMED, NO_CALL})
    rows = sorted(
        (_tool_row(name, fates[name], extra[name], arguments.get(name, Counter())) for name in names), key=_worst
    )
    columns = (
        Column("tool"), Column("gold calls", is_number=True), Column("exact", is_number=True),
        Column("exact share", is_number=True), Column("what went wrong"),
    )  # fmt: skip
    note = f"{len(rows) - _MOST_TOOLS} more tools are not shown." if len(rows) > _MOST_TOOLS else None
    return Table(f"Tools, worst first ({state.name})", columns, tuple(rows[:_MOST_TOOLS]), note)


def _fate(predicted: str) -> str:
    return {NO_CALL: "not called", MALFORMED: "could not be read"}.get(predicted, f"called {predicted} instead")


def _tool_row(name: str, fates: Counter[str], extra: Counter[str], arguments: Counter[str]) -> tuple[Cell, ...]:
    n_extra, n_exact, n_gold = extra.total(), fates["exact"], fates.total()
    share = n_exact / n_gold if n_gold else None
    parts = []
    for fate, n in (*fates.most_common(), *extra.most_common()):
        if fate == "exact":
            continue
        detail = ", ".join(f"{path} {count}" for path, count in arguments.most_common(4))
        parts.append(f"{n} {fate}" + (f" ({detail})" if fate == "wrong arguments" and detail else ""))
    tone: Tone = "good" if share == 1 and not n_extra else "plain"
    return (
        Cell(name), Cell(f"{n_gold:,}", n_gold), Cell(f"{n_exact:,}", n_exact),
        Cell("–" if share is None else f"{share:.0%}", share, tone=tone),
        Cell("; ".join(parts) or "nothing", tone=tone),
    )  # fmt: skip


def _worst(row: tuple[Cell, ...]) -> tuple[float, float, str]:
    return row[3].value if row[3].value is not None else 0.0, -(row[1].value or 0.0), row[0].text


def reason_table(states: Sequence[JudgedState]) -> Table:
    """Return how many turns of each state have each reason for not being exact."""
    counts = [Counter(reason for judged in state.judged for reason in judged.verdict.reasons) for state in states]
    rows = tuple(
        (Cell(_words(reason)), *(Cell(f"{count[reason]:,}", count[reason]) for count in counts))
        for reason in sorted(get_args(Reason), key=lambda reason: -counts[-1][reason])
        if any(count[reason] for count in counts)
    )
    columns = (Column("reason"), *(Column(state.name, is_number=True) for state in states))
    return Table("Why turns are not exact", columns, rows, "A turn can have several reasons.")


_COUNTS = (
    ("n_sessions", "sessions"),
    ("n_turns", "judged turns"),
    ("n_call_turns", "turns with a call due"),
    ("n_no_call_turns", "turns without"),
    ("n_gold_calls", "gold calls"),
    ("n_predicted_calls", "calls made"),
    ("n_malformed_calls", "calls that cannot be read"),
    ("n_errors", "turns without an answer"),
    ("n_truncated", "answers cut at the token limit"),
    ("n_skipped_for_length", "turns skipped for length"),
)
_DOUBTFUL = ("n_malformed_calls", "n_errors", "n_truncated", "n_skipped_for_length")


def count_facts(metrics: Mapping[str, Any]) -> list[Fact]:
    """Return the counts of a state."""
    return [
        Fact(label, f"{metrics[key]:,}", "warn" if key in _DOUBTFUL and metrics[key] else "plain")
        for key, label in _COUNTS
        if isinstance(metrics.get(key), int)
    ]
