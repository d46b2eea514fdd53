"""Training rows of which those of one session are one example, with their shared beginnings once."""

from collections import Counter, defaultdict
from collections.abc import Sequence
from typing import Any

from torch.utils.data import Dataset

from trainer.kernels.segments import join_rows

_WORTH = 0.9  # of the tokens of separate rows; for less, the number of steps stays that of the rows


class JoinedRows(Dataset[dict[str, Any]]):
    """One example per session, as `join_rows` makes it. A session that training uses twice is two examples.

    `lengths` are their numbers of tokens, `n_rows` and `n_row_tokens` count the rows that they are made of.
    """

    def __init__(self, rows: Any) -> None:
        self._rows = rows
        self._groups = _sessions(rows)
        self._tokens = in_numpy(rows)
        lengths = row_lengths(rows)
        self.n_rows, self.n_row_tokens = len(lengths), sum(lengths)
        self.lengths = [
            lengths[group[0]] if len(group) == 1 else len(self[index]["input_ids"])
            for index, group in enumerate(self._groups)
        ]

    def __len__(self) -> int:
        return len(self._groups)

    def __getitem__(self, index: int) -> dict[str, Any]:
        group = self._groups[index]
        joined = join_rows([self._tokens[row] for row in group])
        return {**joined, "session_id": self._rows[group[0]]["session_id"]}


def in_numpy(rows: Any) -> Any:
    """Return training examples with their tokens as arrays, which are read faster than lists, if they can be."""
    return rows.with_format("numpy", columns=["input_ids", "labels"]) if hasattr(rows, "with_format") else rows


def row_lengths(rows: Any) -> list[int]:
    """Return the numbers of tokens of training examples, from their own record or column if they have one."""
    if hasattr(rows, "lengths"):
        return list(rows.lengths)
    if "length" in getattr(rows, "column_names", ()):
        return list(rows["length"])
    return [len(row["input_ids"]) for row in rows]


def has_sessions_of_several_rows(rows: Any) -> bool:
    """Whether rows name their sessions, and some have several, because their chat template rewrites history."""
    if "session_id" not in getattr(rows, "column_names", ()):
        return False
    return len(_sessions(rows)) < len(rows)


def worth_joining(rows: JoinedRows) -> bool:
    """Whether joined rows have clearly fewer tokens than separate ones."""
    return sum(rows.lengths) <= _WORTH * rows.n_row_tokens


def _sessions(rows: Any) -> list[Sequence[int]]:
    """Return the indices of the rows of each session; a repeated session has a group for each time."""
    turns: Sequence[Any] = rows["turns"] if "turns" in rows.column_names else [None] * len(rows)
    groups: dict[tuple[str, int], list[int]] = defaultdict(list)
    n_seen: Counter[tuple[str, tuple[int, ...]]] = Counter()
    for index, (name, trained) in enumerate(zip(rows["session_id"], turns, strict=True)):
        row = (name, tuple(trained or ()))
        groups[name, n_seen[row] if trained else 0].append(index)
        n_seen[row] += 1
    return list(groups.values())
