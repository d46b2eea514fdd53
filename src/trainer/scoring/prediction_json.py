"""One prediction as one line of JSON, and back, every field checked. Knows no files."""

import json
from collections.abc import Mapping
from typing import Any, Self

from pydantic import BaseModel, StrictInt, model_validator

from trainer.errors import DataError
from trainer.scoring.judging import Decision, Reason, Verdict
from trainer.types import AcceptedCall, Call, CallStatus, FinishReason, ParsedCall, Prediction
from trainer.util.records import as_record, read_object

# The records state the keys of a line, their order and their types, for writing and for reading. Lines may have more
# keys, which are ignored: verdicts, and what an evaluation of a server adds.


class CallRecord(BaseModel):
    """A gold call."""

    name: str
    arguments: dict[str, Any]

    def value(self) -> Call:
        """Return the call."""
        return Call(self.name, self.arguments)


class AcceptedCallRecord(CallRecord):
    """A call of an alternative."""

    values: dict[str, tuple[Any, ...]]
    optional: tuple[str, ...]

    def value(self) -> AcceptedCall:
        """Return the call."""
        return AcceptedCall(self.name, self.arguments, self.values, self.optional)


class ParsedCallRecord(BaseModel):
    """An attempt at a call."""

    status: CallStatus
    name: str | None = None
    arguments: dict[str, Any] | None = None
    raw: str
    start: StrictInt
    end: StrictInt

    @model_validator(mode="after")
    def _is_complete(self) -> Self:
        if self.status == "ok" and (self.name is None or self.arguments is None):
            raise ValueError("a call with status 'ok' has a name and arguments")
        return self

    def value(self) -> ParsedCall:
        """Return the attempt."""
        return ParsedCall(self.status, self.raw, self.start, self.end, self.name, self.arguments)


class PredictionRecord(BaseModel):
    """A line of a predictions file."""

    session_id: str
    turn: StrictInt
    context_hash: str
    tool_names: tuple[str, ...]
    gold_content: str
    gold_calls: tuple[CallRecord, ...]
    text: str
    content: str
    calls: tuple[ParsedCallRecord, ...]
    finish_reason: FinishReason
    error: str | None = None
    tool_hashes: tuple[str, ...] = ()
    alternatives: tuple[tuple[AcceptedCallRecord, ...], ...] = ()

    def value(self) -> Prediction:
        """Return the prediction."""
        return Prediction(
            session_id=self.session_id,
            turn=self.turn,
            context_hash=self.context_hash,
            tool_names=self.tool_names,
            gold_content=self.gold_content,
            gold_calls=tuple(call.value() for call in self.gold_calls),
            text=self.text,
            content=self.content,
            calls=tuple(call.value() for call in self.calls),
            finish_reason=self.finish_reason,
            error=self.error,
            tool_hashes=self.tool_hashes,
            alternatives=tuple(tuple(call.value() for call in answer) for answer in self.alternatives),
        )


class VerdictRecord(BaseModel):
    """A verdict beside its prediction, for people and other tools. Scoring judges the turn again."""

    predicted: Decision | None
    exact: bool | None
    reasons: tuple[Reason, ...]


_KEYS: Mapping[type, tuple[str, ...]] = {
    kind: tuple(record.model_fields)
    for kind, record in (
        (Prediction, PredictionRecord),
        (Call, CallRecord),
        (AcceptedCall, AcceptedCallRecord),
        (ParsedCall, ParsedCallRecord),
        (Verdict, VerdictRecord),
    )
}


def to_line(prediction: Prediction, verdict: Verdict | None = None, *, extra: Mapping[str, Any] | None = None) -> str:
    """Return the line, without its end. `verdict` and the keys of `extra` are added; scoring ignores them."""
    record = _fields(prediction) | dict(extra or {})
    if verdict is not None:
        record["verdict"] = verdict
    line = json.dumps(record, ensure_ascii=False, default=_fields)
    try:
        line.encode()
    except UnicodeEncodeError:  # half of a surrogate pair: JSON escapes can express it, UTF-8 cannot
        return json.dumps(record, default=_fields)
    return line


def _fields(value: Any) -> dict[str, Any]:
    return {key: getattr(value, key) for key in _KEYS[type(value)]}


def from_line(line: str, where: str) -> Prediction:
    """Return the prediction of a line. Raises `DataError`, which begins with `where`, if the line is malformed."""
    try:
        record = read_object(line)
    except DataError as error:
        raise DataError(f"{where}: {error}") from None
    try:
        return as_record(PredictionRecord, record).value()
    except DataError as error:
        raise DataError(f"{where}: not a prediction: {error}") from None
