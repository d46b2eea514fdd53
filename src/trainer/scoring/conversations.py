"""Keep the judged conversations beside the predictions: one JSON line per session. Judges nothing.

A line of predictions names its turn only by session, index and hash. The history of turn n is the first n messages.
"""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from trainer.errors import DataError
from trainer.types import EvalTurn, Message
from trainer.util.files import json_line, replace_file
from trainer.util.records import read_record


class ConversationRecord(BaseModel):
    """A line: the session, its canonical messages up to and including its last judged turn, the tools it offered."""

    session_id: str
    tool_names: tuple[str, ...]
    messages: list[dict[str, Any]]


def write_conversations(path: Path, turns: Iterable[EvalTurn]) -> None:
    """Write the conversations that the turns belong to, in the order of their first turns, all or nothing."""
    last: dict[str, EvalTurn] = {}
    for turn in turns:
        known = last.get(turn.session_id)
        if known is None or turn.turn > known.turn:
            last[turn.session_id] = turn
    replace_file(path, "".join(f"{json_line(_record(turn))}\n" for turn in last.values()))


def _record(turn: EvalTurn) -> dict[str, Any]:
    names = [tool["function"]["name"] for tool in turn.tools]
    return {"session_id": turn.session_id, "tool_names": names, "messages": [*turn.messages, _gold_message(turn)]}


def _gold_message(turn: EvalTurn) -> Message:
    message: Message = {"role": "assistant", "content": turn.gold_content}
    if turn.gold_calls:
        calls = [{"name": call.name, "arguments": call.arguments} for call in turn.gold_calls]
        message["tool_calls"] = [{"type": "function", "function": call} for call in calls]  # type: ignore[typeddict-item]
    return message


def read_conversations(path: Path) -> dict[str, ConversationRecord]:
    """Return the conversations of a folder by session; empty if the folder was written without them.

    Raises `DataError`, with file and line, if a line is malformed.
    """
    if not path.is_file():
        return {}
    found = {}
    for number, line in enumerate(path.read_text(encoding="utf-8").split("\n"), start=1):
        if line.strip():
            try:
                record = read_record(ConversationRecord, line)
            except DataError as error:
                raise DataError(f"{path}:{number}: not a conversation: {error}") from None
            found[record.session_id] = record
    return found
