"""Compare a server's answers with those that the run generated in process. Asks nothing and writes nothing."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NamedTuple

from pydantic import BaseModel, ConfigDict

from trainer.errors import DataError
from trainer.eval_metrics import read_predictions
from trainer.run_layout import RunLayout, State
from trainer.scoring.compare import HEADLINE, Comparison, Difference, compare
from trainer.types import Prediction, Tool
from trainer.util.records import read_record


class RunState(NamedTuple):
    """What a run measured of one state: its metrics, and its predictions if they are still there."""

    name: State
    metrics: Mapping[str, Any]
    predictions: tuple[Prediction, ...]


class _StateRecord(BaseModel):
    """The metrics of a state. Keys not named here are rates, counts or tables."""

    model_config = ConfigDict(extra="allow")

    intervals: dict[str, tuple[float, float] | None] | None = None


class _MetricsRecord(BaseModel):
    """The states in the metrics file of a run."""

    base: _StateRecord | None = None
    final: _StateRecord | None = None


class Pairs(NamedTuple):
    """Turns that both sides judged with the same history, in the order of the served ones.

    `kept` are the served turns to compare. `n_skipped` counts those left out because the run skipped them for their
    length: the run never generated an answer there, so the server's answer or error has nothing to be compared with.
    """

    kept: list[Prediction]
    served: list[Prediction]
    in_process: list[Prediction]
    n_skipped: int


@dataclass(frozen=True, slots=True)
class Agreement:
    """How served answers compare with those that the run generated in process, in the same state.

    Turns with the same history are paired, except the `n_skipped` that the run skipped for their length. `n_identical`
    pairs have the same prose and the same calls. `headline` is the difference of the headline rate on these pairs,
    served minus in process, `differs` names the rates that differ beyond chance, and `conclusion` says so in a
    sentence. Without pairs, both are None.
    """

    state: State
    n_paired: int
    n_identical: int
    n_skipped: int
    headline: Difference | None
    differs: tuple[str, ...]
    conclusion: str | None

    @property
    def identical_share(self) -> float | None:
        return self.n_identical / self.n_paired if self.n_paired else None

    def to_json(self) -> dict[str, Any]:
        """Return the agreement as JSON values."""
        return {**asdict(self), "identical_share": self.identical_share}

    def lines(self) -> list[str]:
        """Return the agreement as sentences for people."""
        lines = []
        if self.n_skipped:
            lines.append(f"{self.n_skipped} turns are not compared: the run skipped them for their length")
        if not self.n_paired:
            return [*lines, f"the run's {self.state} state and the server have no turn with the same history"]
        share = f"{self.n_identical} of {self.n_paired} turns ({self.identical_share:.1%})"
        lines.append(f"same answer as the run's {self.state} state: {share}")
        lines.append(f"served against in process: {self.conclusion}")
        if self.differs:
            lines.append(f"rates that differ beyond chance: {', '.join(self.differs)}")
        return lines


def read_run_state(run: Path, name: State) -> RunState | None:
    """Return a state of the run in a folder, or None if the run has not evaluated it.

    Raises `DataError` if its metrics or predictions exist but cannot be read.
    """
    files = RunLayout(run)
    if not files.metrics.is_file():
        return None
    try:
        states = read_record(_MetricsRecord, files.metrics.read_bytes())
    except (OSError, DataError) as error:
        raise DataError(f"{files.metrics}: cannot read the metrics of the run: {error}") from None
    state = states.base if name == "base" else states.final
    if state is None:
        return None
    path = files.predictions(name)
    return RunState(name, state.model_dump(), tuple(read_predictions(path)) if path.is_file() else ())


def agreement(served: Sequence[Prediction], run_state: RunState, tools: Sequence[Tool]) -> Agreement:
    """Compare served answers, in the lenient reading, with those of the run."""
    pairs = pair_up(served, run_state.predictions)
    found = _comparison(pairs, tools)
    return Agreement(
        state=run_state.name,
        n_paired=len(pairs.served),
        n_identical=sum(said(a) == said(b) for a, b in zip(pairs.served, pairs.in_process, strict=True)),
        n_skipped=pairs.n_skipped,
        headline=found.differences.get(HEADLINE) if found else None,
        differs=tuple(name for name, row in found.differences.items() if row.verdict) if found else (),
        conclusion=found.conclusion() if found else None,
    )


def _comparison(pairs: Pairs, tools: Sequence[Tool]) -> Comparison | None:
    """Return the paired comparison, or None if there is no pair with the same gold."""
    try:
        return compare(pairs.in_process, pairs.served, tools)
    except DataError:
        return None


def pair_up(served: Sequence[Prediction], in_process: Sequence[Prediction]) -> Pairs:
    """Return the turns of both sides that can be compared."""
    before = {(p.session_id, p.turn, p.context_hash): p for p in in_process}
    found = [(p, before.get((p.session_id, p.turn, p.context_hash))) for p in served]
    kept = [(p, own) for p, own in found if own is None or own.finish_reason != "skipped_for_length"]
    pairs = [(p, own) for p, own in kept if own is not None]
    return Pairs(
        kept=[p for p, _ in kept],
        served=[p for p, _ in pairs],
        in_process=[own for _, own in pairs],
        n_skipped=len(found) - len(kept),
    )


def said(prediction: Prediction) -> tuple[Any, ...]:
    """Return a whole answer in a form that can be compared: its prose, its calls, and how it ended."""
    calls = [(c.status, c.name, json.dumps(c.arguments, sort_keys=True)) for c in prediction.calls]
    return prediction.content.strip(), calls, prediction.finish_reason
