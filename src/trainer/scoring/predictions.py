"""Make predictions from what a model wrote, write them as JSON lines, and read them back. Needs no model."""

import hashlib
import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Protocol

from trainer.errors import DataError
from trainer.run_layout import TOOLS_FILE
from trainer.scoring.judging import Verdict
from trainer.scoring.prediction_json import from_line, to_line
from trainer.tools.wire import tool_hash
from trainer.types import EvalTurn, FinishReason, Message, ParsedText, Prediction, Tool
from trainer.util.files import replace_file


class TextReader(Protocol):
    """Something that splits model text into prose and calls, such as `trainer.tool_calls.ToolCallFormat`."""

    def parse(self, text: str, *, finished: bool = True, tools: Sequence[Tool] = ()) -> ParsedText:
        """See `ToolCallFormat.parse`."""
        ...


def make_prediction(
    example: EvalTurn,
    text: str,
    *,
    fmt: TextReader,
    finish_reason: FinishReason,
    error: str | None = None,
) -> Prediction:
    """Return the record of an evaluated turn. `text` has its special tokens, but not the stop token."""
    parsed = fmt.parse(text, finished=finish_reason != "length", tools=example.tools)
    return record_turn(example, text, parsed, finish_reason=finish_reason, error=error)


def record_turn(
    turn: EvalTurn, text: str, parsed: ParsedText, *, finish_reason: FinishReason, error: str | None = None
) -> Prediction:
    """Return the record of a turn whose text has been parsed already."""
    return Prediction(
        session_id=turn.session_id,
        turn=turn.turn,
        context_hash=context_hash(turn.messages, turn.tools),
        tool_names=tuple(tool["function"]["name"] for tool in turn.tools),
        gold_content=turn.gold_content,
        gold_calls=turn.gold_calls,
        text=text,
        content=parsed.content,
        calls=parsed.calls,
        finish_reason=finish_reason,
        error=error,
        tool_hashes=tuple(map(tool_hash, turn.tools)),
        alternatives=turn.alternatives,
    )


def context_hash(messages: Sequence[Message], tools: Sequence[Tool]) -> str:
    """Return sixteen hexadecimal digits that identify a history and its tools, in their order.

    They are the same in every process, and for every way to write the same history: the order of keys, missing or null
    fields, arguments as an object or as a JSON string, and the keys `train` and `alternatives` make no difference.
    """
    history = [_plain_message(message) for message in messages]
    text = json.dumps([history, list(tools)], sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:16]


_NOT_HISTORY = ("train", "alternatives")
"""Keys of messages that no model sees."""


def _plain_message(message: Message) -> dict[str, Any]:
    plain = {key: value for key, value in message.items() if key not in _NOT_HISTORY and value not in (None, "", [])}
    calls = message.get("tool_calls")
    if calls:
        plain["tool_calls"] = [
            [call.get("id"), call["function"]["name"], _decoded(call["function"]["arguments"])] for call in calls
        ]
    return plain


def _decoded(arguments: object) -> object:
    if not isinstance(arguments, str):
        return arguments
    try:
        return json.loads(arguments)
    except ValueError:
        return arguments


def write_predictions(
    path: str | Path,
    predictions: Iterable[Prediction],
    tools: Sequence[Tool] | None = None,
    *,
    verdicts: Sequence[Verdict] | None = None,
) -> None:
    """Write one JSON line per turn, all or nothing. With `tools`, also write the folder's `tools.json`.

    A line names the schemas of its turn by their hashes, so each schema is stored once even if every session has tools
    of its own.

    `verdicts`, one per prediction, are for readers of the file; scoring judges the turns again.
    """
    target = Path(path)
    turns = list(predictions)
    beside: Sequence[Verdict | None] = [None] * len(turns) if verdicts is None else verdicts
    lines = [to_line(turn, verdict) for turn, verdict in zip(turns, beside, strict=True)]
    replace_file(target, "".join(f"{line}\n" for line in lines))
    if tools is not None:
        replace_file(target.with_name(TOOLS_FILE), json.dumps(list(tools), indent=2) + "\n")


def read_predictions(path: str | Path) -> list[Prediction]:
    """Read what `write_predictions` wrote. Raises `DataError`, with file and line, if a line is malformed."""
    source = Path(path)
    predictions = []
    try:
        with source.open(encoding="utf-8") as lines:
            for number, line in enumerate(lines, start=1):
                if line.strip():
                    predictions.append(from_line(line, f"{source}:{number}"))
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise DataError(
            f"{source}: predictions cannot be read: {reason}; name a file such as predictions/final.jsonl"
        ) from None
    return predictions
