"""A second opinion on rows of layout openai, written from the documentation alone. Shares no code with the project."""

import json
from collections.abc import Iterator, Mapping
from typing import Any

import jsonschema

ROLES = {
    "system": "system", "developer": "system", "user": "user", "assistant": "assistant", "tool": "tool",
    "function": "tool",
}  # fmt: skip
COMMON = {"role", "content", "name"}
ALLOWED = {
    "system": COMMON | {"train", "weight"},
    "user": COMMON | {"train", "weight"},
    "tool": COMMON | {"tool_call_id", "train", "weight"},
    "assistant": COMMON
    | {"tool_calls", "function_call", "refusal", "reasoning", "reasoning_content", "thinking", "train", "weight"},
}


class Wrong(Exception):
    """The row must not be trained on."""


def need(condition: bool, reason: str) -> None:
    if not condition:
        raise Wrong(reason)


def check_row(text: str) -> None:
    """Raise `Wrong` for a row that says something else than what would be trained, or nothing certain."""
    try:
        row = json.loads(text, parse_constant=_refuse, object_pairs_hook=_unique)
    except ValueError as error:
        raise Wrong(str(error)) from error
    need(isinstance(row, dict), "row")
    messages = row.get("messages")
    if isinstance(messages, str):
        messages = json.loads(messages)
    need(isinstance(messages, list) and bool(messages), "messages")
    tools = dict(_tools(row.get("tools")))
    roles = [_check_message(message) for message in messages]
    need(any(role == "assistant" and _is_trained(m) for role, m in zip(roles, messages, strict=True)), "no target")
    _check_results(roles, messages)
    for role, message in zip(roles, messages, strict=True):
        for name, arguments, _ in _calls(message) if role == "assistant" else ():
            need(name in tools, f"unknown tool {name}")
            if _is_trained(message):
                _check_arguments(arguments, tools[name])


def _refuse(word: str) -> Any:
    raise ValueError(word)


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    if len(dict(pairs)) < len(pairs):
        raise ValueError("a key twice")
    return dict(pairs)


def _tools(value: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(value, str) and value:
        value = json.loads(value)
    need(value is None or value == "" or isinstance(value, list | dict), "tools")
    seen = set()
    for item in [value] if isinstance(value, dict) else value or []:
        tool: Any = json.loads(item) if isinstance(item, str) else item
        need(isinstance(tool, dict), "tool")
        function: Any = tool.get("function") if tool.get("function") is not None else tool
        need(isinstance(function, dict), "function")
        name = function.get("name")
        need(isinstance(name, str) and bool(name.strip()) and name not in seen, "tool name")
        seen.add(name)
        parameters = function.get("parameters")
        schema: Any = json.loads(parameters) if isinstance(parameters, str) else without_nulls(parameters or {})
        need(isinstance(schema, dict), "schema")
        try:
            jsonschema.Draft202012Validator.check_schema(schema)
        except jsonschema.SchemaError as error:
            raise Wrong(error.message) from error
        yield name, schema


def without_nulls(schema: Any) -> Any:
    """A schema as tables write it, where a keyword without a value is null."""
    if isinstance(schema, dict):
        return {key: without_nulls(value) for key, value in schema.items() if value is not None}
    return [without_nulls(item) for item in schema] if isinstance(schema, list) else schema


def _check_message(message: Any) -> str:
    need(isinstance(message, dict), "message")
    role = ROLES.get(message.get("role")) if isinstance(message.get("role"), str) else None
    need(role is not None, "role")
    assert role is not None
    for key, value in message.items():
        if value in (None, "", [], {}) and key in ALLOWED["assistant"] | ALLOWED["tool"]:
            continue
        need(value is None or key in ALLOWED[role], f"{key} on {role}")
    need(message.get("train") in (None, True, False), "train")
    need(message.get("weight") in (None, 0, 1), "weight")
    content = _text(message.get("content"), allow_none=role == "assistant")
    said = content + str(message.get("refusal") or "") + _reasoning(message)
    if role == "user":
        need(bool(content.strip()), "silent user")
    if role == "assistant":
        need(bool(said.strip()) or bool(_calls(message)), "silent assistant")
    return role


def _text(value: Any, *, allow_none: bool) -> str:
    if value is None and allow_none:
        return ""
    if isinstance(value, list):
        for part in value:
            need(isinstance(part, str) or (isinstance(part, dict) and part.get("type") in ("text", "refusal")), "part")
        return "".join(part if isinstance(part, str) else str(part.get(part["type"])) for part in value)
    need(isinstance(value, str), "content")
    return str(value)


def _reasoning(message: Mapping[str, Any]) -> str:
    given = [message.get(key) for key in ("reasoning", "reasoning_content", "thinking")]
    for text in given:
        need(text is None or isinstance(text, str), "reasoning")
    return "".join(text or "" for text in given)


def _is_trained(message: Mapping[str, Any]) -> bool:
    return message.get("train") is not False and message.get("weight") != 0


def _calls(message: Mapping[str, Any]) -> list[tuple[str, dict[str, Any], str | None]]:
    """The name, the arguments and the id of each call."""
    value = message.get("tool_calls")
    items = json.loads(value) if isinstance(value, str) and value else value or []
    need(isinstance(items, list), "tool_calls")
    legacy = message.get("function_call")
    need(not (items and legacy), "both kinds of calls")
    found = []
    for item in [*items, *([legacy] if legacy else [])]:
        call = json.loads(item) if isinstance(item, str) else item
        need(isinstance(call, dict), "call")
        function = call.get("function") if call.get("function") is not None else call
        need(isinstance(function, dict) and isinstance(function.get("name"), str), "call name")
        arguments = function.get("arguments")
        if isinstance(arguments, str) and arguments:
            arguments = json.loads(arguments, parse_constant=_refuse)
        need(arguments in (None, "") or isinstance(arguments, dict), "arguments")
        call_id = call.get("id")
        need(call_id is None or isinstance(call_id, str), "id")
        found.append((function["name"], arguments or {}, call_id))
    return found


def _check_results(roles: list[str], messages: list[Any]) -> None:
    """Every result belongs to a call of the turn before, every call has one unless the conversation ends with it."""
    open_ids: list[str | None] = []
    answered = 0
    for index, (role, message) in enumerate(zip(roles, messages, strict=True)):
        if role == "tool":
            need(answered < len(open_ids), "a result without a call")
            answered += 1
            result_id = message.get("tool_call_id")
            need(result_id in (None, "") or isinstance(result_id, str), "result id")
            if result_id and all(open_ids):
                need(result_id in open_ids, "id of a result")
            continue
        need(answered == len(open_ids), "a call without its result")
        open_ids = [call_id for _, _, call_id in _calls(message)] if role == "assistant" else []
        given = [call_id for call_id in open_ids if call_id]
        need(len(given) == len(set(given)), "two calls with one id")
        answered = 0
        if index == len(messages) - 1:
            return
    need(answered in (0, len(open_ids)), "a call without its result at the end")


def _check_arguments(arguments: dict[str, Any], schema: Any) -> None:
    need(isinstance(schema, dict), "schema")
    closed = (
        {**schema, "additionalProperties": schema.get("additionalProperties", False)}
        if "properties" in schema
        else schema
    )
    try:
        jsonschema.Draft202012Validator(closed).validate(arguments)
    except (jsonschema.ValidationError, jsonschema.SchemaError) as error:
        raise Wrong(error.message) from error
