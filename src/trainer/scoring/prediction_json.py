"""One prediction as one line of JSON, and back, every field checked. Knows no files."""

import json
from collections.abc import Mapping
from typing import Any, get_args

from trainer.errors import DataError
from trainer.scoring.judging import Verdict
from trainer.types import Call, CallStatus, FinishReason, ParsedCall, Prediction


def to_line(prediction: Prediction, verdict: Verdict | None = None, *, extra: Mapping[str, Any] | None = None) -> str:
    """The line, without its end.

    `verdict` is added for readers of the file; scoring makes it anew. `extra` are more keys, which scoring ignores.
    """
    record = _to_record(prediction) | dict(extra or {})
    if verdict is not None:
        record["verdict"] = {
            "predicted": verdict.predicted,
            "exact": verdict.exact,
            "reasons": verdict.reasons,
        }
    line = json.dumps(record, ensure_ascii=False)
    try:
        line.encode()
    except UnicodeEncodeError:  # half of a surrogate pair: JSON escapes can express it, UTF-8 cannot
        return json.dumps(record)
    return line


def from_line(line: str, where: str) -> Prediction:
    """The prediction. Raises DataError, which begins with `where`, if the line is malformed."""
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
