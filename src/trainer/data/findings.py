"""Say what is wrong or doubtful in the rows of a split, each with its place. Finds nothing itself."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

Level = Literal["error", "dropped", "warning"]
Kind = Literal[
    "unreadable_row", "unusable_row", "invalid_call", "nothing_to_learn", "repeated_id", "in_both_splits",
    "same_content", "near_duplicate", "duplicate", "over_long", "gold_too_long", "literal_special_token",
    "tool_never_called", "tool_not_evaluated", "no_call_turns", "nothing_left",
]  # fmt: skip

TITLES: dict[Kind, str] = {
    "unreadable_row": "rows that cannot be read",
    "unusable_row": "sessions that the chat template or the tool-call format cannot carry",
    "invalid_call": "calls that break their tool's schema",
    "nothing_to_learn": "sessions without a turn that carries loss",
    "repeated_id": "rows that repeat a session id",
    "in_both_splits": "sessions that are in both splits",
    "same_content": "evaluation sessions with the content of a training session",
    "near_duplicate": "evaluation sessions that are nearly a training session",
    "duplicate": "sessions that repeat another one of their split",
    "over_long": "rows longer than data.max_context_length",
    "gold_too_long": "answers longer than eval.max_new_tokens_eval, which can never be exact",
    "literal_special_token": "texts with a special token, which a server also reads as one",
    "tool_never_called": "tools that no training session calls",
    "tool_not_evaluated": "tools that no evaluation session calls",
    "nothing_left": "splits of which no session is left",
    "no_call_turns": "splits without turns that need no call, or without any call",
}
"""What each kind means, in the plural."""

CALL_REMEDY = "correct the call, or keep the turn without loss (train: false)"
"""What to do about a call that breaks its tool's schema."""

ROW_ERRORS: tuple[Kind, ...] = ("unreadable_row", "unusable_row", "invalid_call", "nothing_to_learn", "repeated_id")
"""The errors of a single row, which `data.on_bad_row: drop` turns into dropped rows."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is wrong or doubtful. `place` is the file and line, or the dataset and row; empty for a split."""

    level: Level
    kind: Kind
    split: str
    message: str
    place: str = ""
    session_id: str | None = None

    def line(self) -> str:
        """Return the finding as one line: place, session, what is wrong, what to do."""
        session = "" if self.session_id is None else f"session {self.session_id}: "
        where = f"{self.place}: " if self.place else f"{self.split}: "
        return f"{where}{session}{self.message}"


def errors_of(findings: Iterable[Finding]) -> list[Finding]:
    """Return the findings that stop a training."""
    return [finding for finding in findings if finding.level == "error"]


def summary_lines(findings: Sequence[Finding], level: Level) -> list[str]:
    """Return one line for each kind and split of a level: how many there are, and the first of them."""
    found = [finding for finding in findings if finding.level == level]
    counts = Counter((finding.split, finding.kind) for finding in found)
    lines = []
    for (split, kind), n in counts.items():
        first = next(finding for finding in found if (finding.split, finding.kind) == (split, kind))
        lines.append(f"{split}: {n} {TITLES[kind]}; the first: {first.line()}")
    return lines
