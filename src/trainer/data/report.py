"""Report what happened to the sessions of a split: counts, and the names of those left out. Reads no file."""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

_NOTABLE_FACTOR = 1.05
_MOST_BINS = 24


@dataclass(frozen=True, slots=True)
class Lengths:
    """Lengths in tokens: `counts[i]` of them are at least i and less than i + 1 times `bin_tokens`."""

    bin_tokens: int
    counts: tuple[int, ...]
    longest: int


def count_lengths(tokens: Iterable[int]) -> Lengths | None:
    """Return the histogram of some lengths in at most 24 intervals of a round size; None without any.

    >>> count_lengths([3, 5, 30])
    Lengths(bin_tokens=2, counts=(0, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1), longest=30)
    """
    lengths = list(tokens)
    if not lengths:
        return None
    longest = max(lengths)
    powers = (factor * 10**power for power in range(12) for factor in (1, 2, 5))
    size = next(size for size in powers if longest // size < _MOST_BINS)
    counts = Counter(length // size for length in lengths)
    return Lengths(size, tuple(counts[index] for index in range(longest // size + 1)), longest)


@dataclass(frozen=True, slots=True)
class SplitReport:
    """Counts of one split.

    `n_dropped_sessions` are those that `data.on_bad_row: drop` left out. `oversized` maps the ids of over-long sessions
    to their numbers of tokens. `converted` counts what was not in canonical form, by kind. `n_trained_turns` and
    `n_reasoning_turns` count the answers with loss, and those of them with reasoning. `token_factor` is the number of
    tokens of all rows, over those of the longest row of each session: above 1 if the template rewrites history.
    `lengths` are those of all rows, also of over-long ones that were dropped; None if the domain made its own rows.
    """

    n_sessions: int
    n_rows: int
    n_tokens: int
    n_supervised_tokens: int
    n_dropped_sessions: int
    oversized: Mapping[str, int]
    dropped_oversized: bool
    converted: Mapping[str, int] = field(default_factory=dict)
    n_trained_turns: int = 0
    n_reasoning_turns: int = 0
    token_factor: float = 1.0
    lengths: Lengths | None = None

    def lines(self, name: str) -> list[str]:
        """Return the report for people, one fact per line."""
        share = self.n_supervised_tokens / self.n_tokens if self.n_tokens else 0.0
        lines = [
            f"{name}: {self.n_sessions} sessions, {self.n_rows} rows, {self.n_tokens:,} tokens, {share:.1%} supervised"
        ]
        if rewritten := rewritten_history(self.token_factor):
            lines.append(f"{name}: {rewritten}")
        if self.n_dropped_sessions:
            lines.append(
                f"{name}: {self.n_dropped_sessions} sessions dropped because of errors (data.on_bad_row: drop)"
            )
        if self.oversized:
            verb = "dropped" if self.dropped_oversized else "kept although"
            longest = max(self.oversized.values())
            names = ", ".join(list(self.oversized)[:5]) + (", …" if len(self.oversized) > 5 else "")
            lines.append(f"{name}: {len(self.oversized)} rows {verb} over-long (up to {longest:,} tokens): {names}")
        lines += [f"{name}: converted {n} × {what}" for what, n in self.converted.items()]
        return lines


def rewritten_history(factor: float) -> str | None:
    """Return what rewritten history costs and what avoids it; None if the template keeps history as it is.

    `factor` is the `token_factor` of a split.
    """
    if factor < _NOTABLE_FACTOR:
        return None
    return (
        f"the chat template rewrites history, so a session needs several rows, with {factor:.1f} times the tokens of "
        "the longest; training joins them if the model allows it, and a template that keeps history needs one row: see "
        "docs/chat-templates.md"
    )


@dataclass(frozen=True, slots=True)
class SourceReport:
    """How many sessions of a dataset each split has.

    `n_train_uses` counts how often an epoch uses its training sessions: without dropped ones, and `weight` times.
    """

    name: str
    weight: float
    n_train_sessions: int
    n_eval_sessions: int
    n_train_uses: int

    def line(self) -> str:
        """Return the report for people."""
        uses = "" if self.n_train_uses == self.n_train_sessions else f", used {self.n_train_uses} times per epoch"
        trained = f"{self.n_train_sessions} training sessions, weight {self.weight:g}{uses}"
        return f"{self.name}: {trained}; {self.n_eval_sessions} evaluation sessions"


@dataclass(frozen=True, slots=True)
class DataReport:
    """What data preparation did with both splits, and the fingerprint of the rows that it made; None if not known.

    `notes` are lines about dropped rows and about what is doubtful; `warnings` counts the latter by kind.
    `prompt_lengths` are those of the prompts of judged turns. `selection` are the training sessions held out to choose
    a checkpoint, which are not in `train`; None without any.
    """

    train: SplitReport
    eval: SplitReport
    tool_call_format: str | None = None
    fingerprint: str | None = None
    sources: tuple[SourceReport, ...] = ()
    notes: tuple[str, ...] = ()
    warnings: Mapping[str, int] = field(default_factory=dict)
    prompt_lengths: Lengths | None = None
    selection: SplitReport | None = None

    def lines(self) -> list[str]:
        """Return the report for people, one fact per line."""
        several = len(self.sources) > 1 or any(source.weight != 1 for source in self.sources)
        lines = [source.line() for source in self.sources] if several else []
        held = [] if self.selection is None else self.selection.lines("selection, held out of train")
        return [*lines, *self.train.lines("train"), *held, *self.eval.lines("eval"), *self.notes]

    def to_json(self) -> dict[str, Any]:
        """Return the report as plain JSON values."""
        return asdict(self)
