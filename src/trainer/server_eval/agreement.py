"""Compare what a server answers with what the training run measured in process. Asks nothing, writes nothing."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple

from trainer.errors import DataError
from trainer.eval_metrics import Scores, read_predictions, score
from trainer.scoring.rates import RATES
from trainer.types import Prediction, Tool

State = Literal["base", "final"]


class InTraining(NamedTuple):
    """What the training run found out about a state: metrics, and predictions where they are kept."""

    state: State
    metrics: Mapping[str, Any]
    predictions: tuple[Prediction, ...]


class Pairs(NamedTuple):
    """Turns that both judged on the same history, in the order of the served ones.

    `kept` are the served turns that count, `n_skipped` those left out since training skipped them for their length:
    the model was never asked there, so that neither a server's answer nor its error compares with anything.
    """

    kept: list[Prediction]
    served: list[Prediction]
    trained: list[Prediction]
    n_skipped: int


@dataclass(frozen=True, slots=True)
class Agreement:
    """How served answers compare with those that the run generated in process, in the same state.

    Paired are turns on the same history, without the `n_skipped` that training skipped for their length. `n_identical`
    of them have the same prose and the same calls. `outside` names the rates that lie outside the 95% interval of the
    rate in training; it is None where the two judged different turns.
    """

    state: State
    n_paired: int
    n_identical: int
    n_skipped: int
    outside: tuple[str, ...] | None

    @property
    def identical_share(self) -> float | None:
        return self.n_identical / self.n_paired if self.n_paired else None

    def to_json(self) -> dict[str, Any]:
        """The agreement as JSON values."""
        return {**asdict(self), "identical_share": self.identical_share}

    def lines(self) -> list[str]:
        """The agreement for people."""
        lines = []
        if self.n_skipped:
            lines.append(f"{self.n_skipped} turns left out of the comparison: training skipped them for their length")
        if not self.n_paired:
            return [*lines, f"{self.state} in training: no turn was judged on the same history"]
        share = f"{self.n_identical} of {self.n_paired} turns ({self.identical_share:.1%})"
        lines.append(f"same answer as {self.state} in training: {share}")
        if self.outside is None:
            return [*lines, "the two did not judge the same turns, so their rates are not compared"]
        if self.outside:
            return [*lines, f"outside the 95% interval of training: {', '.join(self.outside)}"]
        return [*lines, "all rates lie in training's 95% intervals"]


def read_in_training(run: Path, *, state: State) -> InTraining | None:
    """A state of the run in a folder; None where the run has not evaluated it."""
    try:
        metrics = dict(json.loads((run / "metrics.json").read_text(encoding="utf-8"))[state])
    except (OSError, ValueError, KeyError, TypeError):
        return None
    try:
        predictions = tuple(read_predictions(run / "predictions" / f"{state}.jsonl"))
    except DataError:
        predictions = ()
    return InTraining(state, metrics, predictions)


def agreement(
    served: Sequence[Prediction], scores: Scores, training: InTraining, *, tools: Sequence[Tool]
) -> Agreement:
    """Compare served answers, read leniently and scored as `scores`, with those of training."""
    pairs = pair_up(served, training.predictions)
    same_turns = len(pairs.served) == len(pairs.kept) and len(served) == len(training.predictions)
    outside: tuple[str, ...] | None = None
    if same_turns and pairs.n_skipped:
        outside = outside_rates(score(pairs.served, tools), score(pairs.trained, tools).to_state())
    elif same_turns:
        outside = outside_rates(scores, training.metrics)
    return Agreement(
        state=training.state,
        n_paired=len(pairs.served),
        n_identical=sum(said(a) == said(b) for a, b in zip(pairs.served, pairs.trained, strict=True)),
        n_skipped=pairs.n_skipped,
        outside=outside,
    )


def pair_up(served: Sequence[Prediction], trained: Sequence[Prediction]) -> Pairs:
    """The turns of both sides that can be compared."""
    before = {(p.session_id, p.turn, p.context_hash): p for p in trained}
    found = [(p, before.get((p.session_id, p.turn, p.context_hash))) for p in served]
    kept = [(p, own) for p, own in found if own is None or own.finish_reason != "skipped_for_length"]
    pairs = [(p, own) for p, own in kept if own is not None]
    return Pairs(
        kept=[p for p, _ in kept],
        served=[p for p, _ in pairs],
        trained=[own for _, own in pairs],
        n_skipped=len(found) - len(kept),
    )


def said(prediction: Prediction) -> tuple[Any, ...]:
    """A whole answer, comparable: its prose, its calls, how it ended."""
    calls = [(c.status, c.name, json.dumps(c.arguments, sort_keys=True)) for c in prediction.calls]
    return prediction.content.strip(), calls, prediction.finish_reason


def outside_rates(scores: Scores, training: Mapping[str, Any]) -> tuple[str, ...]:
    """The rates that lie outside their 95% interval in training."""
    intervals = training.get("intervals") or {}
    outside = []
    for rate in RATES:
        value, interval = scores.metrics[rate.name], intervals.get(rate.name)
        if value is not None and interval and not interval[0] <= value <= interval[1]:
            outside.append(rate.name)
    return tuple(outside)
