"""Find all runs under a folder and sum each up, also those that are not finished or cannot be read. Changes nothing."""

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from trainer.errors import DataError
from trainer.run_layout import FINAL, RUN_CONFIG, UNFINISHED_FOLDER, RunLayout
from trainer.scoring.compare import HEADLINE
from trainer.scoring.rates import RATES
from trainer.side_by_side.settings import read_settings
from trainer.util.records import read_object

METRICS = (HEADLINE, "tool_name_f1", "arguments_exact_match", "hallucination_rate", "missed_call_rate", "perplexity")
"""What is listed of a run's final state."""

SORT_KEYS = ("date", "name", "base_model", "n_steps", *METRICS, "runtime_s")
_HIGHER_IS_BETTER = frozenset(rate.name for rate in RATES if rate.better == "higher")

RunState = Literal["finished", "unfinished", "unreadable"]


@dataclass(frozen=True, slots=True)
class RunSummary:
    """A run in a list. `name` is its path below the listed folder; `problem` is why it cannot be read.

    `date` is when its newest file was written, as ISO 8601 in UTC. `metrics` are those of its final state: each of
    `METRICS` that it has. `runtime_s` is the time of its training steps. An unfinished run is going on or was
    interrupted; its `n_steps` are those in its history.
    """

    name: str
    path: Path
    state: RunState
    date: str
    base_model: str | None
    n_steps: int | None
    runtime_s: float | None
    metrics: Mapping[str, float]
    problem: str | None = None

    def value(self, key: str) -> Any:
        """Return the value of one of `SORT_KEYS`; None if the run has none."""
        return self.metrics.get(key) if key in METRICS else getattr(self, key)

    def to_json(self) -> dict[str, Any]:
        """Everything, as JSON values."""
        values = {key: self.value(key) for key in SORT_KEYS if key != "name"}
        return {"name": self.name, "path": str(self.path), "state": self.state, "problem": self.problem, **values}


def find_runs(folder: Path) -> list[RunSummary]:
    """Return all runs under a folder, at any depth, by name. Links are not followed. Raises `DataError`."""
    if not folder.is_dir():
        raise DataError(f"{folder}: there is no such folder; name one that holds runs")
    return sorted(_found(folder), key=lambda run: run.name)


def sorted_runs(runs: Sequence[RunSummary], key: str) -> list[RunSummary]:
    """Return runs in order of one of `SORT_KEYS`: best or newest first, the rest upwards, missing values last."""
    known = [run for run in runs if run.value(key) is not None]
    missing = [run for run in runs if run.value(key) is None]
    return [*sorted(known, key=lambda run: run.value(key), reverse=key == "date" or key in _HIGHER_IS_BETTER), *missing]


def _found(folder: Path) -> Iterator[RunSummary]:
    refused: list[OSError] = []
    for place, subfolders, files in os.walk(folder, onerror=refused.append, followlinks=False):
        path = Path(place)
        if RUN_CONFIG in files:
            yield _summary(path, folder)
            subfolders[:] = [name for name in subfolders if name == UNFINISHED_FOLDER]
        subfolders.sort()
    for error in refused:
        yield _unreadable(Path(str(error.filename)), folder, error.strerror or "cannot be read")


def _summary(path: Path, folder: Path) -> RunSummary:
    files = RunLayout(path)
    try:
        settings = read_settings(path)
        metrics = read_object(files.metrics.read_bytes()) if files.metrics.exists() else {}
        n_steps = _last_step(files.history)
    except (OSError, DataError) as error:
        return _unreadable(path, folder, str(error))
    final, train = _section(metrics, FINAL), _section(metrics, "train")
    base = settings.get("model.base_model_name")
    return RunSummary(
        name=_name(path, folder),
        path=path,
        state="finished" if final else "unfinished",
        date=_date(files.metrics, files.history, files.config),
        base_model=base if isinstance(base, str) else None,
        n_steps=train["n_steps"] if isinstance(train.get("n_steps"), int) else n_steps,
        runtime_s=_number(train.get("runtime_s")),
        metrics={name: number for name in METRICS if (number := _number(final.get(name))) is not None},
    )


def _unreadable(path: Path, folder: Path, problem: str) -> RunSummary:
    return RunSummary(_name(path, folder), path, "unreadable", _date(path), None, None, None, {}, problem)


def _name(path: Path, folder: Path) -> str:
    """The path below the folder; an unfinished run goes by the name of its place unless a finished one is there."""
    place = path.parent if path.name == UNFINISHED_FOLDER and not RunLayout(path.parent).config.exists() else path
    if place == folder or folder not in place.parents:
        return folder.absolute().name
    return place.relative_to(folder).as_posix()


def _last_step(history: Path) -> int | None:
    """The step of the last whole line; the end of the file may be torn off, and lines after it are not there."""
    if not history.exists():
        return None
    steps = []
    for line in history.read_bytes().split(b"\n"):
        try:
            steps.append(read_object(line).get("step"))
        except DataError:
            continue
    return next((step for step in reversed(steps) if isinstance(step, int)), None)


def _section(metrics: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    section = metrics.get(name)
    return section if isinstance(section, Mapping) else {}


def _number(value: Any) -> float | None:
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None


def _date(*paths: Path) -> str:
    times = []
    for path in paths:
        try:
            times.append(path.stat().st_mtime)
        except OSError:
            continue
    return datetime.fromtimestamp(max(times, default=0.0), UTC).isoformat(timespec="seconds")
