"""Predictions: made from what a model wrote, kept as JSON lines, read back to be scored without a model."""

import hashlib
import json
import os
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol, get_args

from trainer.errors import DataError
from trainer.types import (
    Call,
    CallStatus,
    FinishReason,
    Message,
    ParsedCall,
    ParsedText,
    Prediction,
    Tool,
    ToolEvalExample,
)

TOOLS_FILE = "tools.json"
"""The tool schemas beside the predictions files of a folder, so that lines stay small."""


class TextReader(Protocol):
    """Whatever takes model text apart; `trainer.tool_calls.ToolCallFormat` does."""

    def parse(self, text: str, *, finished: bool = True, tools: Sequence[Tool] = ()) -> ParsedText:
        """See `ToolCallFormat.parse`."""
        ...


def make_prediction(
    example: ToolEvalExample,
    text: str,
    *,
    fmt: TextReader,
    finish_reason: FinishReason,
    error: str | None = None,
) -> Prediction:
    """The record of one evaluated turn. `text` is decoded with special tokens kept and the stop token removed."""
    parsed = fmt.parse(text, finished=finish_reason != "length", tools=example.tools)
    return Prediction(
        session_id=example.session_id,
        turn=example.turn,
        context_hash=context_hash(example.messages, example.tools),
        tool_names=tuple(tool["function"]["name"] for tool in example.tools),
        gold_content=example.gold_content,
        gold_calls=example.gold_calls,
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
            [call.get("id"), call["function"]["name"], _decoded(call["function"]["arguments"])]
            for call in calls
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
    verdicts: Sequence[Mapping[str, Any]] | None = None,
) -> None:
    """Write one JSON line per turn, all or nothing; with `tools`, also the folder's `tools.json`.

    `verdicts`, one per prediction, are added for readers of the file; scoring makes them anew.
    """
    target = Path(path)
    records = [_to_record(prediction) for prediction in predictions]
    if verdicts is not None:
        records = [{**record, "verdict": dict(v)} for record, v in zip(records, verdicts, strict=True)]
    _replace_file(target, "".join(f"{_dump(record)}\n" for record in records))
    if tools is not None:
        _replace_file(target.with_name(TOOLS_FILE), json.dumps(list(tools), indent=2) + "\n")


def read_predictions(path: str | Path) -> list[Prediction]:
    """Read what `write_predictions` wrote. Raises DataError, with file and line, where a line is malformed."""
    source = Path(path)
    predictions = []
    try:
        with source.open(encoding="utf-8") as lines:
            for number, line in enumerate(lines, start=1):
                if line.strip():
                    predictions.append(_read_line(line, f"{source}:{number}"))
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{source}: cannot read predictions: {error}") from None
    return predictions


def read_tools(path: str | Path) -> list[Tool]:
    """Read the tool schemas of a `tools.json`. Raises DataError where it is missing or no list of objects."""
    try:
        tools = json.loads(Path(path).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise DataError(f"{path}: cannot read tool schemas: {error}") from None
    if not isinstance(tools, list) or not all(isinstance(tool, dict) for tool in tools):
        raise DataError(f"{path}: expected a list of tool schemas")
    return tools


def _to_record(prediction: Prediction) -> dict[str, Any]:
    return {
        "session_id": prediction.session_id,
        "turn": prediction.turn,
        "context_hash": prediction.context_hash,
        "tool_names": prediction.tool_names,
        "gold_content": prediction.gold_content,
        "gold_calls": [{"name": call.name, "arguments": call.arguments} for call in prediction.gold_calls],
        "text": prediction.text,
        "content": prediction.content,
        "calls": [_call_record(call) for call in prediction.calls],
        "finish_reason": prediction.finish_reason,
        "error": prediction.error,
    }


def _call_record(call: ParsedCall) -> dict[str, Any]:
    return {
        "status": call.status,
        "name": call.name,
        "arguments": call.arguments,
        "raw": call.raw,
        "start": call.start,
        "end": call.end,
    }


def _dump(record: Mapping[str, Any]) -> str:
    line = json.dumps(record, ensure_ascii=False)
    # Half of a surrogate pair, which JSON escapes can express and UTF-8 cannot, stays an escape.
    return line if line.isascii() or _is_unicode(line) else json.dumps(record)


def _is_unicode(text: str) -> bool:
    return not any("\ud800" <= character <= "\udfff" for character in text)


def _replace_file(path: Path, text: str) -> None:
    """Write beside `path` and move into place, so that a reader never meets half a file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(text)
        Path(temporary).chmod(0o644)
        Path(temporary).replace(path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def _read_line(line: str, where: str) -> Prediction:
    try:
        record = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise DataError(f"{where}: not a JSON object: {error}") from None
    if not isinstance(record, dict):
        raise DataError(f"{where}: not a JSON object")
    try:
        return _from_record(record)
    except (KeyError, TypeError, ValueError) as error:
        problem = f"missing {error}" if isinstance(error, KeyError) else str(error)
        raise DataError(f"{where}: not a prediction: {problem}") from None


def _from_record(record: Mapping[str, Any]) -> Prediction:
    return Prediction(
        session_id=_typed(record, "session_id", str),
        turn=_typed(record, "turn", int),
        context_hash=_typed(record, "context_hash", str),
        tool_names=tuple(_typed(record, "tool_names", list)),
        gold_content=_typed(record, "gold_content", str),
        gold_calls=tuple(
            Call(_typed(call, "name", str), _typed(call, "arguments", dict))
            for call in _typed(record, "gold_calls", list)
        ),
        text=_typed(record, "text", str),
        content=_typed(record, "content", str),
        calls=tuple(_parsed_call(call) for call in _typed(record, "calls", list)),
        finish_reason=_one_of(record, "finish_reason", get_args(FinishReason)),
        error=None if record.get("error") is None else _typed(record, "error", str),
    )


def _parsed_call(record: Mapping[str, Any]) -> ParsedCall:
    status: CallStatus = _one_of(record, "status", get_args(CallStatus))
    well_formed = status == "ok"
    return ParsedCall(
        status=status,
        raw=_typed(record, "raw", str),
        start=_typed(record, "start", int),
        end=_typed(record, "end", int),
        name=_typed(record, "name", str) if well_formed or record.get("name") is not None else None,
        arguments=_typed(record, "arguments", dict) if well_formed else None,
    )


def _typed(record: Mapping[str, Any], key: str, kind: type) -> Any:
    value = record[key]
    if not isinstance(value, kind) or isinstance(value, bool):
        raise ValueError(f"{key} is {value!r:.80}; expected {kind.__name__}")
    return value


def _one_of(record: Mapping[str, Any], key: str, allowed: tuple[str, ...]) -> Any:
    if record[key] not in allowed:
        raise ValueError(f"{key} is {record[key]!r:.80}; allowed: {', '.join(allowed)}")
    return record[key]
