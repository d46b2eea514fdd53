"""Score tool calls: predictions in, metrics with intervals out.

The only scorer: for in-process generation, served models and saved predictions. Runs no model and parses no text.
`trainer.scoring.rates` defines the metrics; `trainer.scoring.judging` judges a turn.
"""

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from trainer.errors import DataError
from trainer.scoring.aggregate import (
    ToolRow,
    add_counts,
    confusion,
    count_names,
    count_outcomes,
    decisions,
    session_counts,
    tool_rows,
    turns_by_session,
)
from trainer.scoring.bootstrap import session_intervals
from trainer.scoring.judging import Counts, Decision, GoldDecision, JudgedTurn, Verdict, judge
from trainer.scoring.rates import RATES, FloatArray, macro_f1, rates
from trainer.tools.validation import ToolSpecs
from trainer.tools.wire import tool_hash
from trainer.types import Prediction, Tool

MACRO_F1 = "tool_name_f1_macro"
_N_COUNTERS = len(Counts._fields)


@dataclass(frozen=True, slots=True)
class Scores:
    """The result of scoring.

    `metrics` is flat and ready for JSON: every rate of `trainer.scoring.rates`, `tool_name_f1_macro`, and counts
    (`n_…`). `intervals` has the 95% interval of every defined rate, if there are at least two sessions. `per_tool`
    is sorted worst first. `confusion` counts predicted names by gold name, and `decisions` counts predicted
    decisions by gold decision. `verdicts` is in the order of the predictions.
    """

    metrics: dict[str, float | None]
    intervals: dict[str, tuple[float, float]]
    per_tool: tuple[ToolRow, ...]
    confusion: dict[str, dict[str, int]]
    decisions: Mapping[GoldDecision, dict[Decision, int]]
    verdicts: tuple[Verdict, ...]

    def to_json(self) -> dict[str, Any]:
        """Everything except the verdicts, as JSON values."""
        return {
            "metrics": dict(self.metrics),
            "intervals": {name: list(interval) for name, interval in self.intervals.items()},
            "per_tool": [asdict(row) for row in self.per_tool],
            "confusion": self.confusion,
            "decisions": dict(self.decisions),
        }

    def to_state(self) -> dict[str, Any]:
        """The same with the metrics at the top level, as `metrics.json` stores each state of a model."""
        tables = self.to_json()
        return {**tables.pop("metrics"), **tables}


def score(
    predictions: Sequence[Prediction],
    tools: Sequence[Tool],
    *,
    n_resamples: int = 1000,
    seed: int = 0,
    progress: bool = False,
) -> Scores:
    """Score predictions against their gold.

    `tools` provides the schemas for validation, defaults and comparators. Each prediction lists the tools that its
    turn offered, and identifies their schemas, so sessions may have tools of their own. Failed and truncated turns stay
    in every denominator. Turns skipped for length are counted by `n_skipped_for_length` and are in no rate, because
    the model was never asked. `progress` shows a progress bar on standard error.

    Raises DataError if a turn occurs twice or a tool schema is invalid.
    """
    judged = judge_all(predictions, tools, progress=progress)
    return score_judged(predictions, judged, n_resamples=n_resamples, seed=seed)


def judge_all(predictions: Sequence[Prediction], tools: Sequence[Tool], *, progress: bool = False) -> list[JudgedTurn]:
    """Judge every turn, in order. Raises DataError if a turn occurs twice or a tool schema is invalid."""
    specs = TurnSpecs(tools)
    seen = Counter((prediction.session_id, prediction.turn) for prediction in predictions)
    twice = [key for key, n in seen.items() if n > 1]
    if twice:
        session_id, turn = twice[0]
        raise DataError(
            f"{len(twice)} turns are predicted more than once, for example turn {turn} of session "
            f'"{session_id}"; score one prediction per turn'
        )
    from trainer.util.progress import progress_bar  # imports the terminal library, which scoring does not need

    judged = []
    with progress_bar("Scoring turns", total=len(predictions), unit="turns", show=progress) as advance:
        for prediction in predictions:
            judged.append(judge(prediction, specs.of(prediction)))
            advance(1)
    return judged


class TurnSpecs:
    """The tool schemas that each turn is judged by. Raises DataError, when asked, if they are invalid."""

    def __init__(self, tools: Sequence[Tool]) -> None:
        self._tools = tuple(tools)
        self._by_hash = {tool_hash(tool): tool for tool in self._tools}
        names = Counter(map(_name, self._tools))
        self._by_name = {_name(tool): tool for tool in self._tools if names[_name(tool)] == 1}
        self._specs: dict[tuple[str, ...], ToolSpecs] = {}

    def of(self, prediction: Prediction) -> ToolSpecs:
        """The schemas of the tools that a turn offered: by hash, else by name; all schemas if it has no hashes."""
        if prediction.tool_hashes not in self._specs:
            self._specs[prediction.tool_hashes] = ToolSpecs(self._offered(prediction))
        return self._specs[prediction.tool_hashes]

    def _offered(self, prediction: Prediction) -> list[Tool]:
        if not prediction.tool_hashes:
            return list(self._tools)
        pairs = zip(prediction.tool_names, prediction.tool_hashes, strict=True)
        found = [self._by_hash.get(key) or self._by_name.get(name) for name, key in pairs]
        return [tool for tool in found if tool is not None]


def _name(tool: Tool) -> object:
    return tool.get("function", tool).get("name")


def score_judged(
    predictions: Sequence[Prediction], judged: Sequence[JudgedTurn], *, n_resamples: int, seed: int
) -> Scores:
    """The scores of turns that are already judged. With zero resamples there are no intervals."""
    sessions = list(turns_by_session(judged).values())
    per_tool = tool_rows(judged)
    gold_names = [row.name for row in per_tool if row.n_gold]
    vectors = [_session_vector(turns, gold_names) for turns in sessions]
    counts = np.array(vectors, float).reshape(len(sessions), _N_COUNTERS + 2 * len(gold_names))
    values = _statistics(counts.sum(axis=0))
    sums = add_counts([turn.counts for turn in judged])
    names = [*(rate.name for rate in RATES), MACRO_F1]
    return Scores(
        metrics=_by_name(names, values) | count_outcomes(predictions, judged, sums),
        intervals=_intervals(names, counts, n_resamples=n_resamples, seed=seed),
        per_tool=per_tool,
        confusion=confusion(judged),
        decisions=decisions(judged),
        verdicts=tuple(turn.verdict for turn in judged),
    )


def _session_vector(turns: Sequence[JudgedTurn], tools: Sequence[str]) -> FloatArray:
    """The counts of one session: its counters, then the terms of each tool's F1."""
    return np.concatenate([np.array(session_counts(turns), float), count_names(turns, tools).ravel()])


def _statistics(sums: FloatArray) -> FloatArray:
    """Every rate and the macro F1 of summed session vectors.

    sums     # float64 [..., counters + 2 * tools]
    returns  # float64 [..., rates + 1]
    """
    names = sums[..., _N_COUNTERS:]
    matched, occurring = np.split(names, 2, axis=-1)
    return np.concatenate([rates(sums[..., :_N_COUNTERS]), macro_f1(matched, occurring)[..., None]], axis=-1)


def _by_name(names: Sequence[str], values: FloatArray) -> dict[str, float | None]:
    pairs = zip(names, values.tolist(), strict=True)
    return {name: None if math.isnan(value) else value for name, value in pairs}


def _intervals(
    names: Sequence[str], counts: FloatArray, *, n_resamples: int, seed: int
) -> dict[str, tuple[float, float]]:
    if len(counts) < 2 or n_resamples < 1:
        return {}  # one session cannot show how sessions vary
    lower, upper = session_intervals(counts, _statistics, n_resamples=n_resamples, seed=seed).tolist()
    bounds = zip(names, lower, upper, strict=True)
    return {name: (low, high) for name, low, high in bounds if not math.isnan(low)}
