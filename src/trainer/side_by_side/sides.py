"""Find the predictions that a word names: those of a run, of a served evaluation, or of a file. Judges nothing."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from trainer.errors import DataError
from trainer.run_layout import CONVERSATIONS_FILE, FINAL, TOOLS_FILE, RunLayout, ServedLayout, step_name
from trainer.scoring.conversations import ConversationRecord, read_conversations
from trainer.scoring.predictions import read_predictions
from trainer.tools import read_tools
from trainer.types import Prediction, Tool

_STEP = re.compile(r"step-(\d+)")
_STRICT, _LENIENT = "strict", "lenient"


@dataclass(frozen=True, slots=True)
class Side:
    """One side of a comparison: its name on the command line, its file, and what the file holds.

    `run` is the folder of the run that it belongs to; None for a served evaluation or a file. `tools` is None if no
    schemas are beside the predictions.
    """

    name: str
    file: Path
    predictions: tuple[Prediction, ...]
    tools: tuple[Tool, ...] | None
    run: Path | None = None

    def conversations(self) -> dict[str, ConversationRecord]:
        """Read the conversations beside the predictions; empty if there are none. Raises `DataError`."""
        return read_conversations(self.file.with_name(CONVERSATIONS_FILE))


def read_side(word: str) -> Side:
    """Return the side that a word names: `RUN`, `RUN:STATE`, `SERVED`, `SERVED:lenient`, or a predictions file.

    Raises `DataError` if there is no such evaluation, or if its file is malformed or empty.
    """
    path, state = _split(word)
    if path.is_file() and state is None:
        file, run = path, None
    elif RunLayout(path).config.is_file():
        file, run = _of_run(path, state or FINAL), path
    elif ServedLayout(path).predictions.is_file():
        file, run = _of_served(path, state or _STRICT), None
    else:
        raise DataError(f"{word}: {_why_not(path)}")
    predictions = tuple(read_predictions(file))
    if not predictions:
        raise DataError(f"{file}: holds no predictions")
    beside = file.with_name(TOOLS_FILE)
    tools = tuple(read_tools(beside, unique_names=False)) if beside.is_file() else None
    return Side(word, file, predictions, tools, run)


def tools_of(sides: Sequence[Side], *, named: Path | None = None) -> tuple[Tool, ...]:
    """Return the schemas to judge all sides by: those of the file `named`, else of the first side that has any.

    Raises `DataError` if there are none.
    """
    if named is not None:
        return tuple(read_tools(named, unique_names=False))
    found = next((side.tools for side in sides if side.tools is not None), None)
    if found is None:
        raise DataError(f"{sides[0].file}: no tool schemas beside the predictions; name them with --tools")
    return found


def different_tools(sides: Sequence[Side], tools: Sequence[Tool]) -> list[str]:
    """Return the names of the sides that have other tool schemas than `tools`."""
    return [side.name for side in sides if side.tools is not None and list(side.tools) != list(tools)]


def _split(word: str) -> tuple[Path, str | None]:
    """Return path and state; a path that exists may have colons in it."""
    head, colon, state = word.rpartition(":")
    return (Path(word), None) if not colon or Path(word).exists() else (Path(head), state)


def _of_run(run: Path, state: str) -> Path:
    step = _STEP.fullmatch(state)
    name = step_name(int(step[1])) if step else state
    files = RunLayout(run)
    known = sorted(path.stem for path in files.predictions(FINAL).parent.glob("*.jsonl") if _is_state(path.stem))
    if name in known:
        return files.predictions(name)
    if not known:
        raise DataError(f"{run}: this run has no predictions yet")
    raise DataError(f"{run}: has no evaluation {state!r}; it has {', '.join(known)} (name one as {run}:{known[0]})")


def _is_state(name: str) -> bool:
    return name in ("base", "final") or _STEP.fullmatch(name) is not None


def _of_served(folder: Path, reading: str) -> Path:
    files: Mapping[str, Path] = {
        _STRICT: ServedLayout(folder).predictions,
        _LENIENT: ServedLayout(folder).lenient,
    }
    if reading in files and files[reading].is_file():
        return files[reading]
    raise DataError(f"{folder}: has no reading {reading!r}; a served evaluation has {', '.join(files)}")


def _why_not(path: Path) -> str:
    if not path.exists():
        return "no such file or folder; name a run, RUN:STATE, a served evaluation or a predictions file"
    unfinished = RunLayout(path).unfinished
    if RunLayout(unfinished).config.is_file():
        return f"this run is not finished; its evaluations so far are in {unfinished} (name one as {unfinished}:base)"
    return "neither a run nor a served evaluation; name a folder with config.resolved.yaml or predictions.jsonl"


def side_json(side: Side) -> dict[str, Any]:
    """Return what names a side in a file, as JSON values."""
    return {"name": side.name, "file": str(side.file), "n_predictions": len(side.predictions)}
