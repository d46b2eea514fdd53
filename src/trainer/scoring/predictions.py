"""Predictions: made from what a model wrote, kept as JSON lines, read back to be scored without a model."""

import hashlib
import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Protocol

from trainer.errors import DataError
from trainer.scoring.judging import Verdict
from trainer.scoring.prediction_json import from_line, to_line
from trainer.types import EvalTurn, FinishReason, Message, ParsedText, Prediction, Tool
from trainer.util.files import replace_file

TOOLS_FILE = "tools.json"
"""The tool schemas beside the predictions files of a folder, so that lines stay small."""


class TextReader(Protocol):
    """Whatever takes model text apart; `trainer.tool_calls.ToolCallFormat` does."""

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
    """The record of one evaluated turn. `text` is decoded with special tokens kept and the stop token removed."""
    parsed = fmt.parse(text, finished=finish_reason != "length", tools=example.tools)
    return record_turn(example, text, parsed, finish_reason=finish_reason, error=error)


def record_turn(
    turn: EvalTurn, text: str, parsed: ParsedText, *, finish_reason: FinishReason, error: str | None = None
) -> Prediction:
    """The record of a turn whose text has been taken apart already."""
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
    )


def context_hash(messages: Sequence[Message], tools: Sequence[Tool]) -> str:
    """Sixteen hexadecimal digits that identify a history and its tools, in their order.

    The same in every process and for every way of writing the same history: key order, absent or null fields, and
    arguments as object or as JSON string make no difference, nor does the `train` mark.
    """
    history = [_plain_message(message) for message in messages]
    text = json.dumps([history, list(tools)], sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _plain_message(message: Message) -> dict[str, Any]:
    plain = {key: value for key, value in message.items() if key != "train" and value not in (None, "", [])}
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
    """Write one JSON line per turn, all or nothing; with `tools`, also the folder's `tools.json`.

    `verdicts`, one per prediction, are added for readers of the file; scoring makes them anew.
    """
    target = Path(path)
    turns = list(predictions)
    beside: Sequence[Verdict | None] = [None] * len(turns) if verdicts is None else verdicts
    lines = [to_line(turn, verdict) for turn, verdict in zip(turns, beside, strict=True)]
    replace_file(target, "".join(f"{line}\n" for line in lines))
    if tools is not None:
        replace_file(target.with_name(TOOLS_FILE), json.dumps(list(tools), indent=2) + "\n")


def read_predictions(path: str | Path) -> list[Prediction]:
    """Read what `write_predictions` wrote. Raises DataError, with file and line, where a line is malformed."""
    source = Path(path)
    predictions = []
    try:
        with source.open(encoding="utf-8") as lines:
            for number, line in enumerate(lines, start=1):
                if line.strip():
                    predictions.append(from_line(line, f"{source}:{number}"))
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{source}: cannot read predictions: {error}") from None
    return predictions
