"""Turn raw dataset rows into proven rows of tokens, in batches. Decides nothing about splits or lengths.

Runs in the worker processes of `datasets.Dataset.map`, so it returns problems as text and does not raise them.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from typing import Any

from trainer.chat import EncodedRow, EncodedSession
from trainer.data.chat_setup import ChatSetup
from trainer.data.opening import RowReader
from trainer.data.sessions import gold_calls
from trainer.errors import DataError, ToolSftError
from trainer.messages import is_trained
from trainer.messages.alternatives import accepted_answers
from trainer.tokenizer import decode_text
from trainer.tool_calls import RenderedTurn
from trainer.tool_calls.round_trip import find_difference
from trainer.tools import ToolSpecs
from trainer.types import Call, Message, Session

OUTPUT_COLUMNS = (
    "session_id",
    "row",
    "input_ids",
    "labels",
    "attention_mask",
    "turns",
    "starts",
    "ends",
    "length",
    "problem",
    "literals",
    "violations",
)


class RowEncoder:
    """Encodes raw columns as rows of tokens, when called by `Dataset.map(batched=True, with_indices=True)`.

    Output columns: `session_id`, `row` (position of the raw row), `input_ids`, `labels` and `attention_mask` (int, one
    value per token), `turns`, `starts`, `ends` (the supervised spans) and `length`. A session that cannot be used
    becomes one row with its `problem`. A session's first row carries its `literals` (text that a server would read as a
    special token) and `violations` (gold arguments that break their tool's schema). Rows that cannot be read are left
    out: the survey has reported them.
    """

    def __init__(self, reader: RowReader, chat: ChatSetup, *, ids: Sequence[str]) -> None:
        self._reader, self._chat, self._ids = reader, chat, ids

    def __call__(self, columns: Mapping[str, Sequence[Any]], indices: Sequence[int]) -> dict[str, list[Any]]:
        raw_rows = [dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)]
        sessions: list[tuple[int, Session]] = []
        for index, raw_row in zip(indices, raw_rows, strict=True):
            with suppress(ToolSftError):
                sessions.append((index, self._reader.read(raw_row, session_id=self._ids[index]).session))
        records: list[dict[str, Any]] = []
        encoded_sessions = self._chat.encoder.encode_batch([session for _, session in sessions])
        for (index, session), encoded in zip(sessions, encoded_sessions, strict=True):
            if not isinstance(encoded, EncodedSession):
                records.append(_refusal(session, index, encoded))
            elif (problem := self._unreadable(session, encoded)) is not None:
                records.append(_refusal(session, index, problem))
            else:
                records += _session_records(session, index, encoded)
        return {name: [record[name] for record in records] for name in OUTPUT_COLUMNS}

    def _unreadable(self, session: Session, encoded: EncodedSession) -> DataError | None:
        """Return why the format does not read the gold calls back from the supervised tokens; None if it does."""
        for row in encoded.rows:
            for span in row.spans:
                text = decode_text(self._chat.tokenizer, row.input_ids[span.start : span.end - 1])
                turn = RenderedTurn(f"turn {span.turn}", text, gold_calls(session.messages[span.turn]))
                difference = find_difference(self._chat.fmt, turn, tools=session.tools)
                if difference is not None:
                    reason = f'format "{self._chat.fmt.name}" does not read the gold calls back: {difference}'
                    return DataError(f"{turn.where}: {reason}")
        return None


def _refusal(session: Session, index: int, error: ToolSftError) -> dict[str, Any]:
    reason = str(error).removeprefix(f"session {session.session_id}").lstrip(",: ")
    return {**_record(session.session_id, index, EncodedRow([], ())), "problem": reason}


def _session_records(session: Session, index: int, encoded: EncodedSession) -> list[dict[str, Any]]:
    records = [_record(session.session_id, index, row) for row in encoded.rows]
    if records:
        literals = [f"turn {turn}: {text}" for turn, text in encoded.literal_specials]
        records[0] |= {"literals": literals, "violations": schema_violations(session)}
    return records


def _record(session_id: str, index: int, row: EncodedRow) -> dict[str, Any]:
    return {
        "session_id": session_id,
        "row": index,
        "input_ids": row.input_ids,
        "labels": row.labels(),
        "attention_mask": [1] * len(row.input_ids),
        "turns": [span.turn for span in row.spans],
        "starts": [span.start for span in row.spans],
        "ends": [span.end for span in row.spans],
        "length": len(row.input_ids),
        "problem": None,
        "literals": [],
        "violations": [],
    }


def schema_violations(session: Session) -> list[str]:
    """Return the trained calls that are not valid for their tool, each as `turn: tool: reason`.

    The scorer applies the same checks.
    """
    specs = ToolSpecs(session.tools)  # cheap: each tool is checked once per process
    return [
        f"{where}: {call.name}: {violation.message}"
        for turn, message in enumerate(session.messages)
        if is_trained(message)
        for where, call in _calls_to_check(turn, message)
        for violation in specs.violations(call)
    ]


def _calls_to_check(turn: int, message: Message) -> Iterator[tuple[str, Call]]:
    """Yield the gold calls of a turn, and those of its alternatives in every accepted form, each with its place."""
    yield from ((f"turn {turn}", call) for call in gold_calls(message))
    for index, answer in enumerate(accepted_answers(message)):
        for call in answer:
            where = f"turn {turn}, alternative {index}"
            yield where, call
            for key, values in call.values.items():
                yield from ((where, Call(call.name, call.arguments | {key: value})) for value in values)
            if call.optional:
                least = {key: value for key, value in call.arguments.items() if key not in call.optional}
                yield where, Call(call.name, least)
