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
from trainer.scoring.intervals import rate_interval
from trainer.scoring.judging import Counts, Decision, GoldDecision, JudgedTurn, Verdict, judge
from trainer.scoring.rates import RATES, FloatArray, macro_f1, rate_terms, rates
from trainer.tools.parameters import function_of
from trainer.tools.validation import ToolSpecs
from trainer.tools.wire import tool_hash
from trainer.types import Prediction, Tool

MACRO_F1 = "tool_name_f1_macro"
_N_MACRO_STEPS = 256


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
    return score_judged(predictions, judged)


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
    return function_of(tool).get("name")


def score_judged(predictions: Sequence[Prediction], judged: Sequence[JudgedTurn]) -> Scores:
    """The scores of turns that are already judged."""
    sessions = list(turns_by_session(judged).values())
    per_tool = tool_rows(judged)
    gold_names = [row.name for row in per_tool if row.n_gold]
    counts = np.array([session_counts(turns) for turns in sessions], float).reshape(len(sessions), len(Counts._fields))
    names = np.array([count_names(turns, gold_names) for turns in sessions]).reshape(len(sessions), 2, len(gold_names))
    sums = add_counts([turn.counts for turn in judged])
    macro = float(macro_f1(*names.sum(axis=0)))
    values = dict(zip((rate.name for rate in RATES), rates(counts.sum(axis=0)).tolist(), strict=True))
    return Scores(
        metrics=_defined(values | {MACRO_F1: macro}) | count_outcomes(predictions, judged, sums),
        intervals=_intervals(counts, names),
        per_tool=per_tool,
        confusion=confusion(judged),
        decisions=decisions(judged),
        verdicts=tuple(turn.verdict for turn in judged),
    )


def _defined(values: Mapping[str, float]) -> dict[str, float | None]:
    return {name: None if math.isnan(value) else value for name, value in values.items()}


def _intervals(counts: FloatArray, names: FloatArray) -> dict[str, tuple[float, float]]:
    """The interval of every rate with something to judge in at least two sessions.

    counts  # float64 [sessions, counters]
    names   # float64 [sessions, 2, tools], the terms of each tool's F1
    """
    found: dict[str, tuple[float, float] | None] = {}
    for rate, numerators, denominators in zip(RATES, *(terms.T for terms in rate_terms(counts)), strict=True):
        # F1 counts a matched pair twice: in gold and in the prediction.
        n_trials = float(denominators.sum()) / len(rate.numerator)
        higher = rate.better == "higher"
        errors = denominators - numerators if higher else numerators
        interval = rate_interval(errors, denominators, n_trials=n_trials)
        found[rate.name] = interval if higher or interval is None else (1 - interval[1], 1 - interval[0])
    found[MACRO_F1] = _macro_interval(names[:, 0], names[:, 1])
    return {name: interval for name, interval in found.items() if interval is not None}


def _macro_interval(matched: FloatArray, occurring: FloatArray) -> tuple[float, float] | None:
    """The interval of the mean F1 of tools: a rate in which a call weighs the more, the rarer its tool is.

    matched, occurring  # float64 [sessions, tools]
    """
    totals = occurring.sum(axis=0)
    if not totals.size:
        return None
    weights = 1 / (totals * totals.size)
    n_trials = totals.size**2 / float((2 / totals).sum())
    errors, sizes = (occurring - 2 * matched) @ weights, occurring @ weights
    return rate_interval(errors, sizes, n_trials=n_trials, step=1 / _N_MACRO_STEPS)
