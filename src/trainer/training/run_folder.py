"""Write the files that explain a run. Computes nothing."""

import json
import os
import platform
import subprocess
import sys
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trainer.config import Config
from trainer.guard.measures import SECTION
from trainer.hub import known_sources
from trainer.reports.run_page import run_report
from trainer.reports.writing import write_report
from trainer.run_layout import BASE, METRICS_FILE, MODEL_CARD, RunLayout, step_name
from trainer.scoring.conversations import write_conversations
from trainer.scoring.predictions import write_predictions
from trainer.types import EvalTurn, Tool
from trainer.util.files import json_line, replace_file, replace_json
from trainer.util.secrets import hide
from trainer.values.numbers import finite

if TYPE_CHECKING:  # it brings torch, and a folder is claimed before that is needed
    from trainer.evaluation import Evaluation

_PACKAGES = ("torch", "transformers", "peft", "accelerate", "datasets", "tokenizers", "llm-tool-call-sft")


class RunFolder:
    """The folder of one run. Each file is written completely or not at all, except the history, which grows.

    In JSON files a number that is not finite is null. `n_history` is the number of lines of the history.
    """

    def __init__(self, path: Path, tools: tuple[Tool, ...]) -> None:
        self.path = path
        self.n_history = 0
        self._tools = tools

    def write_text(self, name: str, text: str) -> None:
        """Write a text file."""
        replace_file(self.path / name, text)

    def write_json(self, name: str, value: Any) -> None:
        """Write a value as indented JSON."""
        replace_json(self.path / name, finite(value))

    def metrics_so_far(self) -> dict[str, Any]:
        """Return the metrics that the unfinished run has measured; empty before the first ones."""
        path = RunLayout(self.path).metrics
        found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
        return found

    def add_metrics(self, metrics: Mapping[str, Any]) -> None:
        """Add to the metrics of the unfinished run."""
        self.write_json(METRICS_FILE, {**self.metrics_so_far(), **metrics})

    def append_history(self, record: Mapping[str, Any]) -> None:
        """Add a line to the history."""
        with RunLayout(self.path).history.open("a", encoding="utf-8") as file:
            file.write(hide(json_line(finite(dict(record)))) + "\n")
            file.flush()
            os.fsync(file.fileno())  # a checkpoint says how many lines there are
        self.n_history += 1

    def take_over(self, record: Path) -> None:
        """Copy what another folder holds of the run that goes on here: its history and its evaluations."""
        theirs, ours = RunLayout(record), RunLayout(self.path)
        if theirs.history.is_file():
            replace_file(ours.history, theirs.history.read_text(encoding="utf-8"))
        for path in theirs.predictions(BASE).parent.glob("*.json*"):
            replace_file(ours.predictions(BASE).parent / path.name, path.read_text(encoding="utf-8"))
        if theirs.metrics.is_file():
            measured = json.loads(theirs.metrics.read_text(encoding="utf-8"))
            kept = {name: measured[name] for name in (BASE, SECTION) if measured.get(name) is not None}
            if kept:
                self.write_json(METRICS_FILE, kept)

    def rewind(self, n_history: int) -> None:
        """Forget what an interrupted run wrote after a checkpoint that was made after `n_history` lines."""
        history = RunLayout(self.path).history
        lines = history.read_text(encoding="utf-8").splitlines()[:n_history] if history.exists() else []
        replace_file(history, "".join(line + "\n" for line in lines))
        self.n_history = len(lines)
        known = {step_name(step) for step in self.evaluated_steps()}
        for path in RunLayout(self.path).predictions(step_name(0)).parent.glob("step-*.jsonl"):
            if path.stem not in known:
                path.unlink()

    def evaluated_steps(self) -> set[int]:
        """Return the steps after which the history has an evaluation."""
        history = RunLayout(self.path).history
        lines = history.read_text(encoding="utf-8").splitlines() if history.exists() else []
        records = [json.loads(line) for line in lines]
        return {record["step"] for record in records if any(key.startswith("eval_") for key in record)}

    def write_evaluation(self, name: str, evaluation: "Evaluation") -> None:
        """Write the predictions of an evaluation, one line per judged turn with its verdict."""
        target = RunLayout(self.path).predictions(name)
        write_predictions(target, evaluation.predictions, self._tools, verdicts=evaluation.scores.verdicts)

    def write_conversations(self, turns: Iterable[EvalTurn]) -> None:
        """Write the conversations that the predictions belong to."""
        write_conversations(RunLayout(self.path).conversations, turns)

    def write_card(self, build: Callable[[], str]) -> None:
        """Write the model card that `build` returns; a failure is a warning."""
        write_report(self.path / MODEL_CARD, build)

    def write_report(self) -> None:
        """Write the report of the finished run, from the other files; a failure is a warning."""
        write_report(RunLayout(self.path).report, lambda: run_report(self.path))


def environment(cfg: Config, *, data_fingerprint: str | None) -> dict[str, Any]:
    """Return what a run depends on besides its configuration: versions, commits, hardware, seed and data."""
    import torch

    gpus = [torch.cuda.get_device_name(index) for index in range(torch.cuda.device_count())]
    return {
        "python": sys.version.split()[0],
        "platform": platform.platform(),
        "cpu": torch.cpu.get_capabilities().get("cpu_name", platform.processor()),
        "n_cpu_threads": torch.get_num_threads(),
        "gpus": gpus,
        "versions": {name: _version(name) for name in _PACKAGES},
        "git_commit": _git_commit(),
        "seed": cfg.seed,
        "sources": asdict(known_sources(cfg)),
        "data_fingerprint": data_fingerprint,
    }


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _git_commit() -> str | None:
    command = ["git", "describe", "--always", "--dirty", "--abbrev=40"]
    try:
        result = subprocess.run(command, capture_output=True, text=True, cwd=Path(__file__).parent, check=False)
    except OSError:
        return None
    return result.stdout.strip() or None
