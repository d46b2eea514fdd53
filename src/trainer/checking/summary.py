"""Count what prepared data holds: sessions, tokens, turns and calls. Judges nothing; see `trainer.data.inspection`."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from trainer.config import Config
from trainer.data.findings import Finding
from trainer.data.prepare import Prepared, PreparedSplit

_N_BINS = 10


@dataclass(frozen=True)
class LengthBin:
    """The number of rows with at least `start` and fewer than `end` tokens."""

    start: int
    end: int
    n_rows: int


@dataclass(frozen=True)
class SplitSummary:
    """What one split holds.

    Lengths are tokens per usable row. `n_over_long` counts those above `data.max_context_length`. `converted` counts
    what was not in canonical form, by kind. `token_factor` is the number of tokens of all rows, over those of the
    longest row of each session.
    """

    name: str
    n_sessions: int
    n_dropped_sessions: int
    n_rows: int
    n_tokens: int
    n_supervised_tokens: int
    n_call_turns: int
    n_no_call_turns: int
    n_over_long: int
    length_percentiles: Mapping[str, int]
    length_bins: tuple[LengthBin, ...]
    converted: Mapping[str, int]
    token_factor: float


@dataclass(frozen=True)
class ToolUse:
    """How many sessions of both splits offer a tool, and how often gold calls it in each."""

    name: str
    n_sessions: int
    n_train_calls: int
    n_eval_calls: int


@dataclass(frozen=True)
class DataSummary:
    """Both splits, the use of every tool, and all findings."""

    train: SplitSummary
    eval: SplitSummary
    tools: tuple[ToolUse, ...]
    findings: tuple[Finding, ...]

    def n_of(self, level: str) -> int:
        """Return the number of findings of a level."""
        return sum(finding.level == level for finding in self.findings)

    def to_json(self) -> dict[str, Any]:
        """Return everything as plain JSON values."""
        levels = {f"n_{level}s": self.n_of(level) for level in ("error", "warning")}
        return {**levels, "n_dropped": self.n_of("dropped"), **asdict(self)}


def summarize(cfg: Config, prepared: Prepared) -> DataSummary:
    """Return what prepared data holds."""
    train, evaluation = prepared.train.counts, prepared.evaluation.counts
    offered = Counter(train.offered)
    offered.update(evaluation.offered)
    names = sorted(offered, key=lambda name: (-train.calls[name] - evaluation.calls[name], name))
    return DataSummary(
        _summary(cfg, prepared.train),
        _summary(cfg, prepared.evaluation),
        tuple(ToolUse(name, offered[name], train.calls[name], evaluation.calls[name]) for name in names),
        prepared.findings,
    )


def _summary(cfg: Config, split: PreparedSplit) -> SplitSummary:
    rows, counts = split.rows(), split.counts
    lengths = np.asarray(rows["length"], dtype=np.int64)
    n_supervised = sum(sum(ends) - sum(starts) for starts, ends in zip(rows["starts"], rows["ends"], strict=True))
    percentiles = np.percentile(lengths, [0, 50, 95, 100]) if len(lengths) else [0, 0, 0, 0]
    return SplitSummary(
        name=split.name,
        n_sessions=split.n_sessions,
        n_dropped_sessions=len(split.dropped),
        n_rows=len(rows),
        n_tokens=int(lengths.sum()),
        n_supervised_tokens=int(n_supervised),
        n_call_turns=counts.n_call_turns,
        n_no_call_turns=counts.n_no_call_turns,
        n_over_long=int((lengths > cfg.data.max_context_length).sum()),
        length_percentiles=dict(zip(("shortest", "median", "p95", "longest"), map(int, percentiles), strict=True)),
        length_bins=_bins(lengths),
        converted=dict(counts.converted),
        token_factor=split.token_factor(),
    )


def _bins(lengths: Any) -> tuple[LengthBin, ...]:
    """About ten bins of a round width."""
    if not len(lengths):
        return ()
    longest = int(lengths.max())
    width = next(step for step in _widths() if step * _N_BINS > longest)
    first = int(lengths.min()) // width
    counted = np.bincount(lengths // width, minlength=longest // width + 1)
    return tuple(
        LengthBin(number * width, (number + 1) * width, int(counted[number]))
        for number in range(first, longest // width + 1)
    )


def _widths() -> Any:
    step = 10
    while True:
        yield from (step, 2 * step, 5 * step)
        step *= 10
