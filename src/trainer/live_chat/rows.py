"""Save a live conversation as a row that `chat_rows` trains on, and read it back before it counts as saved."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from trainer.data.layout_reader import LayoutReader
from trainer.data.rows import schema_violations
from trainer.errors import DataError, OutputError
from trainer.layouts import get_layout
from trainer.layouts.project_rows import project_row
from trainer.live_chat.exchange import LiveConversation
from trainer.messages import Conversation, canonical_messages, is_trained
from trainer.types import Session
from trainer.util.files import claim_file, write_file


class Saved(NamedTuple):
    """A saved row: its session id, how many answers training would learn, and how many rows the file has now."""

    session_id: str
    n_trained: int
    n_rows: int


def save_row(path: Path, conversation: LiveConversation) -> Saved:
    """Add the conversation to a file of rows (JSON lines); saved again, it takes the place of its earlier row.

    Raises `DataError` if training could not use the row, and `OutputError` if the file holds something else or cannot
    be written. Nothing is written then.
    """
    option = "/save"
    claim_file(path, option=option)
    if path.suffix != ".jsonl":
        raise OutputError(f"{option} {path}: name a file that ends in .jsonl")
    session_id = f"chat-{conversation.now:%Y%m%d-%H%M%S}"
    line = _line(conversation, session_id)
    session = read_back(line)
    n_trained = sum(is_trained(message) for message in session.messages)
    if not n_trained:
        raise DataError("nothing to save: the conversation has no answer that training could learn")
    if problems := schema_violations(session):
        raise DataError(f"training would refuse the row: {problems[0]}")
    kept = [other for other, row in _rows(path, option) if row.get("session_id") != session_id]
    write_file(path, "".join(f"{one}\n" for one in [*kept, line]), option=option)
    return Saved(session_id, n_trained, len(kept) + 1)


def read_back(line: str) -> Session:
    """Return the session of a line as the domain `chat_rows` reads it. Raises `DataError`."""
    reader = LayoutReader(get_layout("project"), (), None, None, "UTC", makes_ids=False)
    return reader.read(json.loads(line)).session


def _line(conversation: LiveConversation, session_id: str) -> str:
    messages = canonical_messages(conversation.all_messages)
    tools = tuple(conversation.prompt.tools)
    return project_row(Conversation(messages, tools, session_id, conversation.now.date().isoformat())).line


def _rows(path: Path, option: str) -> list[tuple[str, Mapping[str, Any]]]:
    """Return the lines of a file that is there, each with its row."""
    if not path.exists():
        return []
    found = []
    try:
        for number, line in enumerate(path.read_text(encoding="utf-8").split("\n"), start=1):
            if line.strip():
                row = json.loads(line)
                if not isinstance(row, Mapping) or "conversation" not in row:
                    raise ValueError(f"line {number} is not a conversation")
                found.append((line, row))
    except (OSError, ValueError, RecursionError) as error:
        raise OutputError(f"{option} {path}: holds something else ({error}); name another file") from error
    return found
