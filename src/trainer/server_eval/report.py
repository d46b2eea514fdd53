"""Write the results of a server's evaluation: metrics, both readings of every answer, a report. Asks nothing."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from trainer.endpoint import Answer
from trainer.errors import EndpointError
from trainer.eval_metrics import score
from trainer.reports.served_page import served_report
from trainer.reports.writing import write_report as write_page
from trainer.scoring.conversations import write_conversations
from trainer.scoring.predictions import write_predictions
from trainer.server_eval.agreement import RunState, agreement
from trainer.server_eval.journal import Journal
from trainer.server_eval.readings import Reading, format_loss, read_twice
from trainer.tool_calls import ToolCallFormat
from trainer.tool_calls.vllm_losses import known_loss
from trainer.types import EvalTurn, Tool
from trainer.util.files import replace_json


@dataclass(frozen=True, slots=True)
class ServedResult:
    """The result folder, the metrics of each table column, and notes for people."""

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
    run_state: RunState | None,
) -> ServedResult:
    """Score both readings, write all files, and compare with `run_state`, the same state in the run, if it is known.

    Raises `EndpointError` after writing if no turn was answered at all.
    """
    readings = [read_twice(turn, answer, fmt) for turn, answer in zip(turns, answers, strict=True)]
    strict_turns, lenient_turns = ([getattr(r, name) for r in readings] for name in Reading._fields)
    strict, lenient = score(strict_turns, tools), score(lenient_turns, tools)
    n_outdated = journal.finish(strict_turns, answers, strict.verdicts)
    write_predictions(journal.files.lenient, lenient_turns, tools, verdicts=lenient.verdicts)

    loss = format_loss(readings, fmt)
    states: dict[str, Mapping[str, Any]] = {"strict": strict.to_state(), "lenient": lenient.to_state()}
    metrics = {**states, "format_loss": loss.to_json(), "server": server}
    notes = [_server_line(server), *_request_lines(server)]
    if n_outdated:
        notes.append(f"{n_outdated} saved answers were dropped: the history or the tools of their turns have changed")
    if run_state is not None:
        states[f"{run_state.name}, in process"] = run_state.metrics
        agreed = agreement(lenient_turns, run_state, tools)
        metrics["in_process"] = agreed.to_json() | {"metrics": dict(run_state.metrics)}
        notes += agreed.lines()
    notes += [advice] if (advice := loss.advice()) else []
    notes += [known] if loss.n_lost and (known := known_loss(fmt)) else []
    failures = Counter(answer.error for answer in answers if answer.error is not None)
    notes += [f"{n} turns have no answer: {reason}" for reason, n in failures.most_common(3)]
    replace_json(journal.files.metrics, metrics | {"notes": notes})
    write_conversations(journal.files.conversations, turns)
    write_page(journal.files.report, lambda: served_report(journal.folder))
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
    """Return what was left out of the requests because the server does not accept it."""
    lines = []
    if server["without_parser"]:
        lines.append("the server has no tool-call parser: requests had tool_choice none, and calls are in the text")
    if server["dropped_fields"]:
        lines.append(f"the server refuses {', '.join(server['dropped_fields'])}: requests were sent without")
    return lines
