"""Read what a report shows from the folder of a finished run or of a served evaluation. Computes nothing.

Folders written before a file existed have an empty value in its place; a malformed file is a `DataError`.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from trainer.errors import DataError
from trainer.run_layout import BASE, FINAL, RunLayout, ServedLayout
from trainer.scoring.advice.diagnosis import Evidence
from trainer.scoring.conversations import ConversationRecord, read_conversations
from trainer.scoring.predictions import read_predictions
from trainer.tools import read_tools
from trainer.types import Prediction, Tool


@dataclass(frozen=True, slots=True)
class EvaluatedFolder:
    """What both kinds of folders hold: metrics, predictions by state or reading, tools and conversations."""

    path: Path
    metrics: Mapping[str, Any]
    predictions: Mapping[str, tuple[Prediction, ...]]
    tools: tuple[Tool, ...]
    conversations: Mapping[str, ConversationRecord]


@dataclass(frozen=True, slots=True)
class RunFiles(EvaluatedFolder):
    """A run: its resolved configuration, its environment, the lines of its history, and its bias on calls."""

    config: Mapping[str, Any]
    environment: Mapping[str, Any]
    history: tuple[Mapping[str, Any], ...]
    calibration: Mapping[str, Any]

    def evidence(self) -> Evidence:
        """What the run has measured, for a diagnosis."""
        return Evidence(self.metrics, self.history, self.config)


@dataclass(frozen=True, slots=True)
class ServedFiles(EvaluatedFolder):
    """An evaluation of a server: what all its requests had in common."""

    request: Mapping[str, Any]


def read_run_files(folder: Path) -> RunFiles:
    """Return the files of a run folder. Raises `DataError` if it holds no metrics or a malformed file."""
    files = RunLayout(folder)
    predictions: dict[str, tuple[Prediction, ...]] = {
        state: tuple(read_predictions(files.predictions(state)))
        for state in (BASE, FINAL)
        if files.predictions(state).is_file()
    }
    return RunFiles(
        path=folder,
        metrics=_json(files.metrics, needed=True),
        predictions=predictions,
        tools=_tools(files.tools),
        conversations=read_conversations(files.conversations),
        config=_yaml(files.config),
        environment=_json(files.environment),
        history=_lines(files.history),
        calibration=_json(files.calibration),
    )


def read_evidence(folder: Path, metrics: Mapping[str, Any]) -> Evidence:
    """Return what a run has measured, for a diagnosis: `metrics`, its history and its configuration.

    Raises `DataError` for a malformed file.
    """
    files = RunLayout(folder)
    return Evidence(metrics, _lines(files.history), _yaml(files.config))


def read_served_files(folder: Path) -> ServedFiles:
    """Return the files of a served evaluation. Raises `DataError` as `read_run_files` does.

    The strict file can have lines of turns that the last evaluation did not judge; the lenient one has no others.
    """
    files = ServedLayout(folder)
    lenient = tuple(read_predictions(files.lenient)) if files.lenient.is_file() else ()
    judged = {(p.session_id, p.turn, p.context_hash) for p in lenient}
    strict = tuple(read_predictions(files.predictions)) if files.predictions.is_file() else ()
    kept = tuple(p for p in strict if (p.session_id, p.turn, p.context_hash) in judged)
    return ServedFiles(
        path=folder,
        metrics=_json(files.metrics, needed=True),
        predictions={"strict": kept, "lenient": lenient},
        tools=_tools(files.tools),
        conversations=read_conversations(files.conversations),
        request=_json(files.request),
    )


def _json(path: Path, *, needed: bool = False) -> Mapping[str, Any]:
    if not path.is_file() and not needed:
        return {}
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise DataError(f"{path}: cannot be read: {error}") from None
    return _mapping(value, path)


def _yaml(path: Path) -> Mapping[str, Any]:
    if not path.is_file():
        return {}
    try:
        value = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, yaml.YAMLError) as error:
        raise DataError(f"{path}: cannot be read: {error}") from None
    return _mapping(value, path)


def _mapping(value: Any, path: Path) -> Mapping[str, Any]:
    if not isinstance(value, dict):
        raise DataError(f"{path}: must hold an object with keys")
    return value


def _tools(path: Path) -> tuple[Tool, ...]:
    if not path.is_file() or path.read_text(encoding="utf-8").split() == ["[]"]:
        return ()
    return read_tools(path, unique_names=False)  # sessions can have tools of their own


def _lines(path: Path) -> tuple[Mapping[str, Any], ...]:
    if not path.is_file():
        return ()
    try:
        return tuple(json.loads(line) for line in path.read_text(encoding="utf-8").split("\n") if line.strip())
    except ValueError as error:
        raise DataError(f"{path}: has a line that is not JSON: {error}") from None
