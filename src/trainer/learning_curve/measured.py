"""Read what the finished runs of a curve measured: figures, and the answers to the test turns. Judges nothing."""

import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from trainer.errors import DataError
from trainer.learning_curve.verdict import ShareTurns, StepTurns
from trainer.run_layout import BASE, FINAL, RunLayout
from trainer.scoring.predictions import read_predictions
from trainer.scoring.saved import read_saved
from trainer.util.records import read_object

SHOWN_RATES = ("turn_exact", "tool_name_f1", "hallucination_rate", "missed_call_rate")
_STEP = re.compile(r"step-(\d+)")


@dataclass(frozen=True, slots=True)
class Figures:
    """The figures of a model: rates with their 95% intervals, and perplexity; None if there was nothing to judge."""

    rates: Mapping[str, float | None]
    intervals: Mapping[str, tuple[float, float] | None]
    perplexity: float | None


@dataclass(frozen=True, slots=True)
class MeasuredShare:
    """What the run of a share measured. `n_supervised_tokens` are those of all its sessions, once."""

    percent: int
    folder: Path
    n_sessions: int
    n_supervised_tokens: int
    n_steps: int
    final: Figures

    def to_json(self) -> dict[str, Any]:
        """Return everything as JSON values; the folder by its name."""
        return {**asdict(self), "folder": self.folder.name}


def read_share(run: Path, percent: int) -> MeasuredShare:
    """Return what a finished run measured. Raises `DataError` if its metrics are not those of a finished run."""
    path = RunLayout(run).metrics
    metrics = _metrics(run)
    try:
        train, data = metrics["train"], metrics["data"]["train"]
        return MeasuredShare(
            percent=percent,
            folder=run,
            n_sessions=int(data["n_sessions"]),
            n_supervised_tokens=int(data["n_supervised_tokens"]),
            n_steps=int(train["n_steps"]),
            final=_figures(metrics[FINAL]),
        )
    except (KeyError, TypeError, ValueError) as error:
        raise DataError(f"{path}: has no {error}; delete this file, and the run is trained again") from None


def read_base(run: Path) -> Figures | None:
    """Return the figures of the base model; None if this run did not judge it. Raises `DataError`."""
    state = _metrics(run).get(BASE)
    return _figures(state) if state is not None else None


def final_turns(point: MeasuredShare) -> ShareTurns:
    """Return the answers of a share's final model. Raises `DataError`."""
    predictions = read_saved(RunLayout(point.folder).predictions(FINAL)).predictions
    return ShareTurns(point.percent, point.n_sessions, point.n_steps, predictions)


def evaluations_of(run: Path) -> list[StepTurns]:
    """Return the answers at every evaluation during a run, by step. Raises `DataError`."""
    found = []
    for path in RunLayout(run).predictions(FINAL).parent.glob("step-*.jsonl"):
        if step := _STEP.fullmatch(path.stem):
            found.append(StepTurns(int(step[1]), read_predictions(path)))
    return sorted(found, key=lambda evaluation: evaluation.step)


def _metrics(run: Path) -> dict[str, Any]:
    path = RunLayout(run).metrics
    try:
        return read_object(path.read_bytes())
    except (OSError, DataError) as error:
        raise DataError(f"{path}: cannot be read: {error}") from error


def _figures(state: Mapping[str, Any]) -> Figures:
    intervals = state.get("intervals") or {}
    return Figures(
        rates={name: state.get(name) for name in SHOWN_RATES},
        intervals={name: tuple(intervals[name]) if name in intervals else None for name in SHOWN_RATES},
        perplexity=state.get("perplexity"),
    )
