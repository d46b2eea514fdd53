"""Write what an evaluation of a server came to: metrics, both readings of every answer, a report. Asks nothing."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from trainer.endpoint import Answer
from trainer.errors import EndpointError
from trainer.eval_metrics import score
from trainer.scoring.predictions import write_predictions
from trainer.scoring.tables import report_markdown
from trainer.server_eval.agreement import InTraining, agreement
from trainer.server_eval.journal import Journal
from trainer.server_eval.readings import Reading, format_loss, read_twice
from trainer.tool_calls import ToolCallFormat
from trainer.types import EvalTurn, Tool
from trainer.util.files import replace_file

LENIENT_FILE = "lenient.jsonl"


@dataclass(frozen=True, slots=True)
class ServedResult:
    """Where the result lies, the metrics of each state, and what else people should know."""

    output: Path
    states: Mapping[str, Mapping[str, Any]]
    notes: tuple[str, ...]


def write_report(
    journal: Journal,
    turns: Sequence[EvalTurn],
    answers: Sequence[Answer],
    *,
    fmt: ToolCallFormat,
    tools: Sequence[Tool],
    server: Mapping[str, Any],
    training: InTraining | None,
) -> ServedResult:
    """Score both readings, write all the files, and compare with what the training run measured, where it did.

    Raises `EndpointError` where no turn was answered at all, after everything is written.
    """
    readings = [read_twice(turn, answer, fmt) for turn, answer in zip(turns, answers, strict=True)]
    strict_turns, lenient_turns = ([getattr(r, name) for r in readings] for name in Reading._fields)
    strict, lenient = score(strict_turns, tools), score(lenient_turns, tools)
    journal.write_tools(tools)
    n_outdated = journal.finish(strict_turns, answers, strict.verdicts)
    write_predictions(journal.folder / LENIENT_FILE, lenient_turns, verdicts=lenient.verdicts)

    loss = format_loss(readings, fmt)
    states: dict[str, Mapping[str, Any]] = {"strict": strict.to_state(), "lenient": lenient.to_state()}
    metrics = {**states, "format_loss": loss.to_json(), "server": server}
    notes = [_server_line(server), *_request_lines(server)]
    if n_outdated:
        notes.append(f"{n_outdated} kept answers dropped: given to the same turns on another history or other tools")
    if training is not None:
        states[f"{training.state} in training"] = training.metrics
        agreed = agreement(lenient_turns, lenient, training, tools=tools)
        metrics["in_training"] = agreed.to_json()
        notes += agreed.lines()
    notes += [advice] if (advice := loss.advice()) else []
    failures = Counter(answer.error for answer in answers if answer.error is not None)
    notes += [f"{n} turns without answer: {reason}" for reason, n in failures.most_common(3)]
    journal.write_json("metrics.json", metrics)
    title = f"{server['lora_name'] or server['model']}, served"
    replace_file(journal.folder / "report.md", report_markdown(title, states, notes))
    if failures.total() == len(turns):
        raise EndpointError(f"no turn was answered: {failures.most_common(1)[0][0]} (see {journal.path})")
    return ServedResult(journal.folder, states, tuple(notes))


def _server_line(server: Mapping[str, Any]) -> str:
    parts = [f"{server['n_asked']} turns asked in {server['seconds']} s"]
    parts += [f"{server['n_kept']} kept from before"] if server["n_kept"] else []
    parts += [f"{server['n_retries']} retries"] if server["n_retries"] else []
    if server["latency_s"]:
        parts.append("latency " + ", ".join(f"{name} {s:.2f} s" for name, s in server["latency_s"].items()))
    return f"{server['model']}{' + ' + server['lora_name'] if server['lora_name'] else ''}: " + "; ".join(parts)


def _request_lines(server: Mapping[str, Any]) -> list[str]:
    """What the requests lacked of what training has, since the server does not take it."""
    lines = []
    if server["without_parser"]:
        lines.append("the server has no tool-call parser: asked with tool_choice none, calls are in the text only")
    if server["dropped_fields"]:
        lines.append(f"the server refuses {', '.join(server['dropped_fields'])}: asked without")
    return lines
