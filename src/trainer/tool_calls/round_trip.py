"""The round-trip check before training: reading what the template writes must give the calls of the data."""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from trainer.errors import FormatError
from trainer.tool_calls.base import ToolCallFormat
from trainer.tools.equality import equal
from trainer.types import Call, Tool


class RenderedTurn(NamedTuple):
    """An assistant turn as the chat template renders it (without the stop token), and its gold calls."""

    where: str
    text: str
    calls: Sequence[Call]


def check_round_trip(
    fmt: ToolCallFormat, turns: Iterable[RenderedTurn], *, tools: Sequence[Tool] = (), n_shown: int = 5
) -> int:
    """Check that `fmt` reads back the gold calls of every turn from its text. Returns the number of turns.

    The text of a turn without calls must not contain an attempted call. Raises FormatError with the first
    `n_shown` turns that differ: a model trained on them could not be scored or served correctly.
    """
    n_turns, problems = 0, []
    for turn in turns:
        n_turns += 1
        problem = find_difference(fmt, turn, tools=tools)
        if problem is not None:
            problems.append(f"  {turn.where}: {problem}")
    if problems:
        shown = "\n".join(problems[:n_shown])
        raise FormatError(
            f'format "{fmt.name}" does not read back {len(problems)} of {n_turns} assistant turns:\n{shown}\n'
            "Check that this is the template's format, or change the values that it cannot express."
        )
    return n_turns


def find_difference(fmt: ToolCallFormat, turn: RenderedTurn, *, tools: Sequence[Tool] = ()) -> str | None:
    """Return how the calls read from `turn` differ from its gold calls, or None if they do not."""
    parsed = fmt.parse(turn.text, tools=tools)
    if len(parsed.calls) != len(turn.calls):
        return f"{len(parsed.calls)} calls read, {len(turn.calls)} expected, in {turn.text[:200]!r}"
    for read, gold in zip(parsed.calls, turn.calls, strict=True):
        if read.status != "ok":
            return f"the call of {gold.name!r} reads as {read.status}: {read.raw[:200]!r}"
        if read.name != gold.name or not equal(read.arguments, gold.arguments):
            return f"{gold.name}({gold.arguments}) reads as {read.name}({read.arguments})"
    return None
