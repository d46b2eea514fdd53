"""The report of a finished run: what ran, what training changed, and where the model is still wrong."""

import json
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from trainer.errors import DataError
from trainer.guard.measures import SECTION, guard_shortfalls
from trainer.reports.charts import Histogram, LineChart
from trainer.reports.folder import RunFiles, read_run_files
from trainer.reports.page import render_page
from trainer.reports.parts.arguments import argument_errors, argument_table, errors_by_tool
from trainer.reports.parts.calibration import CalibrationView, calibration_view
from trainer.reports.parts.curves import length_charts, training_charts
from trainer.reports.parts.facts import config_text, data_lines, machine_facts, named, run_facts
from trainer.reports.parts.judged import JudgedState, judge_state
from trainer.reports.parts.tables import (
    confusion_map,
    count_facts,
    decision_map,
    guard_table,
    metrics_table,
    reason_table,
    tool_table,
)
from trainer.reports.parts.turns import ShownTurns, show_turns
from trainer.reports.text import shortened
from trainer.reports.views import Fact, HeatMap, Table
from trainer.run_layout import BASE, FINAL, RunLayout
from trainer.scoring.advice.shortfalls import shortfalls
from trainer.scoring.compare import HEADLINE, Comparison, compare_judged
from trainer.tools.parameters import function_of
from trainer.types import Tool

_MOST_TOOLS = 100
_MOST_SCHEMA = 6000


@dataclass(frozen=True, slots=True)
class ToolView:
    """A tool and its schema as JSON."""

    name: str
    json: str


@dataclass(frozen=True, slots=True)
class Command:
    """A command to run next, and what for."""

    purpose: str
    text: str


@dataclass(frozen=True, slots=True)
class RunReport:
    """Everything that the page of a run shows."""

    name: str
    subtitle: str
    conclusion: str | None
    shortfalls: Sequence[str]
    metrics: Table
    guard: Table | None
    counts: Sequence[Fact]
    skipped: str | None
    charts: Sequence[LineChart]
    calibration: CalibrationView | None
    maps: Sequence[HeatMap]
    tools: Table | None
    reasons: Table | None
    arguments: Table | None
    lengths: Sequence[Histogram]
    turns: ShownTurns
    facts: Sequence[Fact]
    machine: Sequence[Fact]
    data: Sequence[Fact]
    config: str
    schemas: Sequence[ToolView]
    commands: Sequence[Command]


def run_report(folder: Path) -> str:
    """Return the page of the run in a folder; a function of the folder's files alone.

    Raises `DataError` if the folder holds no metrics, or a file that cannot be read.
    """
    files = read_run_files(folder)
    report = _report(files)
    return render_page("run.html.jinja", title=f"{report.name} · run report", report=report)


def _report(files: RunFiles) -> RunReport:
    states = [judge_state(name, turns, files.tools) for name, turns in files.predictions.items()]
    last = states[-1] if states else None
    measured: dict[str, Mapping[str, Any]] = {
        name: files.metrics[name] for name in (BASE, FINAL) if isinstance(files.metrics.get(name), Mapping)
    }
    comparison = compared(states)
    errors = argument_errors(last) if last else []
    output = str(_section(files.config, "train").get("output_dir") or files.path)
    limit = _section(files.config, "data").get("max_context_length")
    return RunReport(
        name=Path(output).name,
        subtitle=_subtitle(files),
        conclusion=_conclusion(comparison) if comparison else None,
        shortfalls=[
            *(shortfalls(comparison, files.evidence()) if comparison else ()),
            *guard_shortfalls(_section(files.metrics, SECTION)),
        ],
        metrics=metrics_table("Tool calls on unseen sessions", measured, comparison),
        guard=guard_table(_section(files.metrics, SECTION)),
        counts=count_facts(measured.get(FINAL) or {}),
        skipped=_skipped(last),
        charts=training_charts(files.history, measured.get(BASE) or {}, n_held_out=_n_held_out(files)),
        calibration=calibration_view(files.calibration),
        maps=maps_of(states),
        tools=tool_table(last, errors_by_tool(errors)) if last else None,
        reasons=reason_table(states) if states else None,
        arguments=argument_table(errors, state=last.name) if last and errors else None,
        lengths=length_charts(_section(files.metrics, "data"), max_context_tokens=limit),
        turns=show_turns(states, files.conversations),
        facts=run_facts(files.config, files.environment, files.metrics),
        machine=machine_facts(files.environment),
        data=data_lines(_section(files.metrics, "data")),
        config=config_text(files.config),
        schemas=tool_views(files.tools),
        commands=_commands(output, files.config),
    )


def _conclusion(comparison: Comparison) -> str:
    row = comparison.differences[HEADLINE]
    return f"Turns exactly right: {row.first:.1%} before training, {row.second:.1%} after. {comparison.conclusion()}"


def compared(states: Sequence[JudgedState]) -> Comparison | None:
    """Return the comparison of the first and the last state; None with one state or without a turn in both."""
    if len(states) < 2:
        return None
    first, last = states[0], states[-1]
    try:
        return compare_judged(first.predictions, last.predictions, (first.judged, last.judged))
    except DataError:  # no turn is in both, as after a change of the data
        return None


def maps_of(states: Sequence[JudgedState]) -> list[HeatMap]:
    """Return the decisions of every state, then its confusions of tool names."""
    confused = [confusion_map(state) for state in states]
    return [*map(decision_map, states), *(found for found in confused if found is not None)]


def tool_views(tools: Sequence[Tool]) -> list[ToolView]:
    """Return the schemas of the first tools, as the model reads them."""
    views = []
    for function in map(function_of, tools[:_MOST_TOOLS]):
        schema = json.dumps(dict(function), indent=2, ensure_ascii=False)
        views.append(ToolView(str(function.get("name")), shortened(schema, most=_MOST_SCHEMA)))
    return views


def _subtitle(files: RunFiles) -> str:
    model = _section(files.config, "model").get("base_model_name")
    final = _section(files.metrics, FINAL)
    parts = [f"{model} with a LoRA adapter" if model else "LoRA adapter"]
    if final.get("n_turns") is not None:
        parts.append(f"{final['n_turns']:,} turns of {final.get('n_sessions', 0):,} unseen sessions judged")
    return "; ".join(parts)


def _n_held_out(files: RunFiles) -> int:
    """The number of training sessions that the evaluations during training judged; 0 if they judged the others."""
    return int(_section(_section(files.metrics, "data"), "selection").get("n_sessions") or 0)


def _skipped(state: JudgedState | None) -> str | None:
    names = (
        [f"{p.session_id}/{p.turn}" for p in state.predictions if p.finish_reason == "skipped_for_length"]
        if state
        else []
    )
    if not names:
        return None
    return (
        f"{len(names)} turns skipped for length, because prompt and eval.max_new_tokens_eval exceed "
        f"data.max_context_length (session/turn): {named(names)}"
    )


def _commands(output: str, config: Mapping[str, Any]) -> list[Command]:
    run = shlex.quote(output)
    base = shlex.quote(str(_section(config, "model").get("base_model_name") or "BASE"))
    name = shlex.quote(Path(output).name)
    resolved = shlex.quote(str(RunLayout(Path(output)).config))
    address = "http://127.0.0.1:8000/v1"
    served = f"tool-sft eval --config {resolved} --endpoint {address} --model {base} --lora-name {name}"
    return [
        Command("Talk to it", f"tool-sft chat --run {run}"),
        Command(
            "Serve it (vLLM; with --engine transformers, a small server without a GPU)", f"tool-sft serve --run {run}"
        ),
        Command("Judge the served model on the same turns", served),
        Command("Compare it with another run", f"tool-sft compare {run} OTHER_RUN"),
    ]


def _section(values: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    found = values.get(name)
    return found if isinstance(found, Mapping) else {}
