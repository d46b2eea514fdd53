"""Show conversations as messages. Knows no verdicts."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from trainer.reports.text import shortened
from trainer.reports.views import ConversationView, MessageView
from trainer.scoring.conversations import ConversationRecord

_TITLES = {"system": "System", "user": "User", "assistant": "Assistant", "tool": "Result"}
_FOLDED = ("system", "tool")
_MOST_TEXT = 3000
_MOST_CALLS = 20


def conversation_view(record: ConversationRecord, key: str) -> ConversationView:
    """Return a conversation with its messages under addresses that begin with `key`."""
    names = _answered_names(record.messages)
    views = tuple(
        message_view(message, key=f"{key}-m{index}", answered=names.get(index))
        for index, message in enumerate(record.messages)
    )
    return ConversationView(key, record.session_id, views, record.tool_names)


def message_view(message: Mapping[str, Any], *, key: str, answered: str | None = None) -> MessageView:
    """Return one canonical message. `answered` is the tool whose result it is."""
    role = str(message.get("role", ""))
    text = _text(message)
    title = _TITLES.get(role, role)
    if role == "tool" and answered:
        title = f"Result of {answered}"
    is_folded = role in _FOLDED
    if is_folded:
        title = f"{title} · {len(text):,} characters"
    calls = tuple(map(_call, list(message.get("tool_calls") or ())[:_MOST_CALLS]))
    known = role if role in _TITLES else "user"
    return MessageView(key, known, title, shortened(text, most=_MOST_TEXT), calls, is_folded)


def _text(message: Mapping[str, Any]) -> str:
    content = message.get("content")
    text = content if isinstance(content, str) else "" if content is None else json.dumps(content, ensure_ascii=False)
    reasoning = message.get("reasoning_content")
    return f"[reasoning] {reasoning}\n\n{text}" if reasoning else text


def _call(call: Any) -> tuple[str, str]:
    function = call.get("function") if isinstance(call, Mapping) else None
    function = function if isinstance(function, Mapping) else {}
    arguments = json.dumps(function.get("arguments"), ensure_ascii=False, indent=2)
    return f"calls {function.get('name', '?')}", shortened(arguments, most=_MOST_TEXT)


def _answered_names(messages: Sequence[Mapping[str, Any]]) -> dict[int, str]:
    """Return the tool of every result, by the id of its call, else in the order of the calls before it."""
    names: dict[int, str] = {}
    by_id: dict[str, str] = {}
    waiting: list[str] = []
    for index, message in enumerate(messages):
        if message.get("role") == "assistant":
            waiting = [title.removeprefix("calls ") for title, _ in map(_call, message.get("tool_calls") or ())]
            ids = [call.get("id") for call in message.get("tool_calls") or () if isinstance(call, Mapping)]
            by_id = {str(key): name for key, name in zip(ids, waiting, strict=False) if key}
        elif message.get("role") == "tool":
            known = by_id.get(str(message.get("tool_call_id"))) or message.get("name")
            names[index] = str(known or (waiting.pop(0) if waiting else ""))
    return names
