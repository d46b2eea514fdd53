"""Report what happened to the sessions of a split: counts, and the names of those left out. Reads no file."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class SplitReport:
    """Counts of one split.

    `oversized` maps the ids of over-long sessions to their numbers of tokens. `literals` lists text that a server would
    read as special tokens, and `violations` lists gold calls that break their tool's schema.
    """

    n_sessions: int
    n_rows: int
    n_tokens: int
    n_supervised_tokens: int
    n_unsupervised_sessions: int
    oversized: Mapping[str, int]
    dropped_oversized: bool
    literals: tuple[str, ...] = ()
    violations: tuple[str, ...] = ()

    def lines(self, name: str) -> list[str]:
        """Return the report for people, one fact per line."""
        share = self.n_supervised_tokens / self.n_tokens if self.n_tokens else 0.0
        lines = [
            f"{name}: {self.n_sessions} sessions, {self.n_rows} rows, {self.n_tokens:,} tokens, {share:.1%} supervised"
        ]
        if self.oversized:
            verb = "dropped" if self.dropped_oversized else "kept although"
            longest = max(self.oversized.values())
            names = ", ".join(list(self.oversized)[:5]) + (", …" if len(self.oversized) > 5 else "")
            lines.append(f"{name}: {len(self.oversized)} rows {verb} over-long (up to {longest:,} tokens): {names}")
        if self.n_unsupervised_sessions:
            lines.append(f"{name}: {self.n_unsupervised_sessions} sessions left out (no supervised turn)")
        for found, what in (
            (self.literals, "pieces of text read as special tokens"),
            (self.violations, "gold calls break their tool's schema"),
        ):
            if found:
                lines.append(f"{name}: {len(found)} {what}; the first: {found[0]}")
        return lines


@dataclass(frozen=True, slots=True)
class DataReport:
    """What data preparation did with both splits, and the fingerprint of the rows that it made; None if not known."""

    train: SplitReport
    eval: SplitReport
    tool_call_format: str | None = None
    fingerprint: str | None = None

    def lines(self) -> list[str]:
        """Return the report for people, one fact per line."""
        return [*self.train.lines("train"), *self.eval.lines("eval")]

    def to_json(self) -> dict[str, Any]:
        """Return the report as plain JSON values."""
        return asdict(self)
