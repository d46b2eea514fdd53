"""Turn raw dataset rows into proven rows of tokens, in batches. Decides nothing about splits or lengths.

Runs in the worker processes of `datasets.Dataset.map`, so problems travel back as text, not as exceptions.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import jsonschema
from transformers.tokenization_utils_base import PreTrainedTokenizerBase

from trainer.chat import ChatEncoder, EncodedRow, EncodedSession, canonical_messages
from trainer.config import DataConfig
from trainer.errors import DataError, ToolSftError
from trainer.ordering import shuffled
from trainer.sources import row_name
from trainer.tool_calls import RenderedTurn, ToolCallFormat
from trainer.tool_calls.gate import find_difference
from trainer.types import Call, Message, Session, Tool

OUTPUT_COLUMNS = (
    "session_id",
    "input_ids",
    "labels",
    "attention_mask",
    "turns",
    "starts",
    "ends",
    "length",
    "problem",
)


class SessionToMessages(Protocol):
    """The one function that a domain has to write: a raw row becomes chat messages, system message first."""

    def __call__(self, row: Mapping[str, Any], /, *, sysprompt: str, timezone: str) -> Sequence[Message]: ...


def session_tools(tools: Sequence[Tool], session_id: str) -> tuple[Tool, ...]:
    """The domain's tools in this session's own order, so that no model learns a tool by its place."""
    return shuffled(tools, key=f"tools\0{session_id}")


def gold_calls(message: Message) -> tuple[Call, ...]:
    """The calls of a canonical assistant message."""
    calls = message.get("tool_calls") or ()
    return tuple(Call(call["function"]["name"], dict(call["function"]["arguments"])) for call in calls)


@dataclass(frozen=True, slots=True)
class SessionReader:
    """Reads a raw row as a session, with the domain's function."""

    to_messages: SessionToMessages
    id_column: str
    sysprompt: str
    timezone: str
    tools: tuple[Tool, ...]

    def read(self, row: Mapping[str, Any]) -> Session:
        """The session of a raw row. Raises `DataError` naming the turn."""
        session_id = row[self.id_column]
        if not isinstance(session_id, str) or not session_id:
            raise DataError(f"{self.id_column} is {session_id!r}; must be a non-empty string")
        messages = self.to_messages(row, sysprompt=self.sysprompt, timezone=self.timezone)
        session = Session(session_id, canonical_messages(messages), session_tools(self.tools, session_id))
        known = {tool["function"]["name"] for tool in self.tools}
        for turn, message in enumerate(session.messages):
            for call in gold_calls(message):
                if call.name not in known:
                    names = ", ".join(sorted(known))
                    raise DataError(f'turn {turn} calls unknown tool "{call.name}"; known: {names}')
        return session


class RowEncoder:
    """Callable for `Dataset.map(batched=True, with_indices=True)`: raw columns in, token rows out.

    Output columns: `session_id`, `input_ids`, `labels` and `attention_mask` (int, one value per token),
    `turns`, `starts`, `ends` (the supervised spans), `length`, and `problem` (why a session was refused).
    """

    def __init__(
        self,
        reader: SessionReader,
        encoder: ChatEncoder,
        tokenizer: PreTrainedTokenizerBase,
        *,
        fmt: ToolCallFormat,
        data: DataConfig,
        split: str,
    ) -> None:
        self._reader, self._encoder, self._tokenizer = reader, encoder, tokenizer
        self._fmt, self._data, self._split = fmt, data, split

    def __call__(self, columns: Mapping[str, Sequence[Any]], indices: Sequence[int]) -> dict[str, list[Any]]:
        rows = [dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)]
        out: dict[str, list[Any]] = {name: [] for name in OUTPUT_COLUMNS}
        sessions: list[tuple[int, Session]] = []
        for index, row in zip(indices, rows, strict=True):
            try:
                sessions.append((index, self._reader.read(row)))
            except ToolSftError as error:
                self._refuse(out, index, str(row.get(self._reader.id_column)), error)
        encoded_sessions = self._encoder.encode_batch([session for _, session in sessions])
        for (index, session), encoded in zip(sessions, encoded_sessions, strict=True):
            if not isinstance(encoded, EncodedSession):
                self._refuse(out, index, session.session_id, encoded)
                continue
            problem = self._unreadable(session, encoded)
            if problem is not None:
                self._refuse(out, index, session.session_id, DataError(problem))
                continue
            for encoded_row in encoded.rows:
                _append(out, session.session_id, encoded_row)
        return out

    def _unreadable(self, session: Session, encoded: EncodedSession) -> str | None:
        """Why the tokens to be learned would not be read back as the gold calls; None when they are."""
        for row in encoded.rows:
            for span in row.spans:
                text = self._tokenizer.decode(
                    row.input_ids[span.start : span.end - 1], skip_special_tokens=False
                )
                calls = gold_calls(session.messages[span.turn])
                where = f"turn {span.turn}"
                difference = find_difference(self._fmt, RenderedTurn(where, text, calls), tools=session.tools)
                if difference is not None:
                    return (
                        f'{where}: format "{self._fmt.name}" does not read the gold calls back: {difference}'
                    )
        return None

    def _refuse(self, out: dict[str, list[Any]], index: int, session_id: str, error: ToolSftError) -> None:
        _append(out, session_id, EncodedRow([], ()))
        out["problem"][-1] = f"{row_name(self._data, self._split, index)}: session {session_id}: {error}"


def _append(out: dict[str, list[Any]], session_id: str, row: EncodedRow) -> None:
    values = {
        "session_id": session_id,
        "input_ids": row.input_ids,
        "labels": row.labels(),
        "attention_mask": [1] * len(row.input_ids),
        "turns": [span.turn for span in row.spans],
        "starts": [span.start for span in row.spans],
        "ends": [span.end for span in row.spans],
        "length": len(row.input_ids),
        "problem": None,
    }
    for name, value in values.items():
        out[name].append(value)


def schema_violations(session: Session) -> list[str]:
    """Gold calls whose arguments break their tool's JSON Schema, as `turn: tool: reason`."""
    schemas = {tool["function"]["name"]: tool["function"].get("parameters", {}) for tool in session.tools}
    found = []
    for turn, message in enumerate(session.messages):
        for call in gold_calls(message):
            for error in jsonschema.Draft202012Validator(schemas[call.name]).iter_errors(call.arguments):
                found.append(f"session {session.session_id}, turn {turn}: {call.name}: {error.message}")
    return found
