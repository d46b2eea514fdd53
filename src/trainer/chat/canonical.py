"""Bring the messages of a conversation into one form, however they were stored. Uses no template and no tokenizer.

Arguments become objects and content becomes text. Keys that a table format filled with `None` are removed.
"""

import json
from collections.abc import Mapping, Sequence
from typing import Any, NoReturn, cast

from trainer.errors import DataError
from trainer.types import Message, ToolCallJson

ROLES = ("system", "user", "assistant", "tool")


class CanonicalMessages(tuple[Message, ...]):
    """A conversation in canonical form. `canonical_messages` returns it unchanged."""

    __slots__ = ()


def canonical_messages(messages: Sequence[Message]) -> CanonicalMessages:
    """Return the conversation in canonical form. Canonical messages come back equal.

    Content is text ("" if it was null or missing). Call arguments are decoded objects and keep the nulls of
    the source. Calls have `type: "function"`. Every tool result has the id of the call that it answers, if
    that call has one. Only assistant turns that are excluded from the loss keep `train: False`; `weight: 0`
    means the same.

    Raises:
        DataError: a message is malformed. The text names the turn (its index) and what is allowed.
    """
    if isinstance(messages, CanonicalMessages):
        return messages
    canonical: list[Message] = []
    open_calls: list[str | None] = []
    for turn, message in enumerate(messages):
        role = message.get("role")
        if role not in ROLES:
            _fail(turn, f"role is {role!r}; allowed: {', '.join(ROLES)}")
        if role == "assistant":
            clean = _assistant(turn, message)
            open_calls = [call.get("id") for call in clean.get("tool_calls") or ()]
        elif role == "tool":
            clean = _tool_result(turn, message, open_calls)
        else:
            clean = Message(role=role, content=_text(turn, message, "content"))
            open_calls = []
            _copy_name(turn, message, clean)
        canonical.append(clean)
    return CanonicalMessages(canonical)


def is_trained(message: Message) -> bool:
    """Return whether a canonical message is an assistant turn that carries loss."""
    return message["role"] == "assistant" and message.get("train") is not False


def _assistant(turn: int, message: Message) -> Message:
    calls = [_call(turn, call) for call in message.get("tool_calls") or ()]
    if not calls and message.get("content") is None:
        _fail(turn, "an assistant turn has neither content nor tool calls")
    ids = [call["id"] for call in calls if "id" in call]
    if len(ids) != len(set(ids)):
        _fail(turn, f"two calls have the same id: {ids}")
    clean = Message(role="assistant", content=_text(turn, message, "content"))
    if calls:
        clean["tool_calls"] = calls
    if message.get("reasoning_content"):
        clean["reasoning_content"] = _text(turn, message, "reasoning_content")
    if not _carries_loss(turn, message):
        clean["train"] = False
    _copy_name(turn, message, clean)
    return clean


def _carries_loss(turn: int, message: Message) -> bool:
    train = message.get("train")
    if train is not None and not isinstance(train, bool):
        _fail(turn, f"train is {train!r}; allowed: true, false")
    weight = cast(Mapping[str, Any], message).get("weight")
    if weight is not None and weight not in (0, 1):
        _fail(turn, f"weight is {weight!r}; allowed: 0 (context only), 1 (trained)")
    return train is not False and weight != 0


def _call(turn: int, call: ToolCallJson) -> ToolCallJson:
    function = call.get("function")
    name = function.get("name") if isinstance(function, Mapping) else None
    if not isinstance(name, str) or not name:
        _fail(turn, f"a tool call has no function name: {call!r}")
    arguments = _arguments(turn, name, function.get("arguments"))
    clean: ToolCallJson = {"type": "function", "function": {"name": name, "arguments": arguments}}
    if call.get("id") is not None:
        clean = {"id": call["id"], **clean}
    return clean


def _arguments(turn: int, name: str, arguments: Any) -> dict[str, Any]:
    if arguments is None or arguments == "":
        return {}
    if isinstance(arguments, str):
        try:
            arguments = json.loads(arguments, parse_constant=_no_constant)
        except ValueError as error:
            _fail(turn, f"the arguments of the call to {name!r} are not JSON ({error}): {arguments!r}")
    if not isinstance(arguments, Mapping):
        _fail(turn, f"the arguments of the call to {name!r} must be a JSON object, got {arguments!r}")
    return dict(arguments)


def _no_constant(literal: str) -> NoReturn:
    raise ValueError(f"{literal} is not a JSON value")


def _tool_result(turn: int, message: Message, open_calls: list[str | None]) -> Message:
    """Match the result to a call of the last assistant turn: by id, or in order if it has no id."""
    if not open_calls:
        _fail(turn, "a tool result answers no call: there is no unanswered tool call before it")
    call_id = message.get("tool_call_id") or open_calls[0]
    if call_id not in open_calls:
        known = ", ".join(map(repr, open_calls))
        _fail(turn, f"tool_call_id {call_id!r} matches no unanswered call of the turn before; unanswered: {known}")
    open_calls.remove(call_id)
    clean = Message(role="tool", content=_text(turn, message, "content"))
    if call_id is not None:
        clean["tool_call_id"] = call_id
    _copy_name(turn, message, clean)
    return clean


def _copy_name(turn: int, message: Message, clean: Message) -> None:
    if message.get("name") is not None:
        clean["name"] = _text(turn, message, "name")


def _text(turn: int, message: Message, key: str) -> str:
    value = cast(Mapping[str, Any], message).get(key)
    if value is None:
        return ""
    if not isinstance(value, str):
        _fail(turn, f"{key} must be text, got {type(value).__name__}: {value!r}")
    return value


def _fail(turn: int, reason: str) -> NoReturn:
    raise DataError(f"turn {turn}: {reason}")
