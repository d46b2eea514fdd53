"""The report of a served evaluation: what an application receives, what is only in the text, how training compares."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from trainer.reports.folder import ServedFiles, read_served_files
from trainer.reports.page import render_page
from trainer.reports.parts.arguments import argument_errors, argument_table, errors_by_tool
from trainer.reports.parts.judged import judge_state
from trainer.reports.parts.tables import count_facts, metrics_table, reason_table, tool_table
from trainer.reports.parts.turns import ShownTurns, show_turns
from trainer.reports.run_page import ToolView, maps_of, tool_views
from trainer.reports.views import Cell, Column, Fact, HeatMap, Table

_READINGS = ("strict", "lenient")
_MOST_FAILURES = 20


@dataclass(frozen=True, slots=True)
class ServedReport:
    """Everything that the page of a served evaluation shows."""

    name: str
    subtitle: str
    metrics: Table
    counts: Sequence[Fact]
    notes: Sequence[str]
    agreement: Sequence[Fact]
    failures: Table | None
    maps: Sequence[HeatMap]
    tools: Table | None
    reasons: Table | None
    arguments: Table | None
    turns: ShownTurns
    server: Sequence[Fact]
    request: Sequence[Fact]
    schemas: Sequence[ToolView]


def served_report(folder: Path) -> str:
    """Return the page of the served evaluation in a folder; a function of the folder's files alone.

    Raises `DataError` if the folder holds no metrics, or a file that cannot be read.
    """
    report = _report(read_served_files(folder))
    return render_page("served.html.jinja", title=f"{report.name} · served", report=report)


def _report(files: ServedFiles) -> ServedReport:
    states = [judge_state(name, files.predictions[name], files.tools) for name in _READINGS if files.predictions[name]]
    strict = states[0] if states else None
    server = _section(files.metrics, "server")
    measured = {name: files.metrics[name] for name in _READINGS if isinstance(files.metrics.get(name), Mapping)}
    in_process = _section(files.metrics, "in_process")
    if isinstance(in_process.get("metrics"), Mapping):
        measured[f"{in_process.get('state')}, in process"] = in_process["metrics"]
    errors = argument_errors(strict) if strict else []
    return ServedReport(
        name=str(server.get("lora_name") or server.get("model") or files.path.name),
        subtitle=f"served at {server['endpoint']}" if server.get("endpoint") else "a served model",
        metrics=metrics_table("Tool calls on unseen sessions", measured, None),
        counts=count_facts(measured.get("strict") or {}),
        notes=[str(note) for note in files.metrics.get("notes") or ()],
        agreement=_agreement(in_process),
        failures=_failures(files),
        maps=maps_of(states),
        tools=tool_table(strict, errors_by_tool(errors)) if strict else None,
        reasons=reason_table(states) if states else None,
        arguments=argument_table(errors, state="strict") if errors else None,
        turns=show_turns(states[:1], files.conversations),
        server=_facts(server),
        request=_facts(files.request),
        schemas=tool_views(files.tools),
    )


def _agreement(found: Mapping[str, Any]) -> list[Fact]:
    if not found:
        return []
    share = found.get("identical_share")
    facts = [
        Fact("state of the run", str(found.get("state"))),
        Fact("turns compared", f"{found.get('n_paired', 0):,}"),
        Fact("same answer", "–" if share is None else f"{found.get('n_identical'):,} ({share:.1%})"),
        Fact("not compared: skipped for length by the run", f"{found.get('n_skipped', 0):,}"),
    ]
    if found.get("conclusion"):
        facts.append(Fact("served against in process", str(found["conclusion"])))
    if found.get("differs"):
        facts.append(Fact("rates that differ beyond chance", ", ".join(found["differs"]), "warn"))
    return facts


def _failures(files: ServedFiles) -> Table | None:
    """The reasons of turns without an answer, most frequent first."""
    reasons = Counter(p.error or "no reason given" for p in files.predictions["strict"] if p.finish_reason == "error")
    if not reasons:
        return None
    rows = tuple((Cell(reason), Cell(f"{n:,}", n)) for reason, n in reasons.most_common(_MOST_FAILURES))
    return Table("Turns without an answer", (Column("reason"), Column("turns", is_number=True)), rows)


def _facts(values: Mapping[str, Any]) -> list[Fact]:
    return [Fact(name.replace("_", " "), _text(value)) for name, value in values.items() if value not in (None, [], {})]


def _text(value: Any) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{key} {inner}" for key, inner in value.items())
    return (
        ", ".join(map(str, value))
        if isinstance(value, list)
        else f"{value:,}"
        if isinstance(value, int)
        else str(value)
    )


def _section(values: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    found = values.get(name)
    return found if isinstance(found, Mapping) else {}
