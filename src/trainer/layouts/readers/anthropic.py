"""Anthropic rows: messages with content blocks, calls as `tool_use`, results as `tool_result` in a user message."""

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

from trainer.layouts.layout import Row, add_system
from trainer.messages.calls import read_arguments, to_call
from trainer.messages.conversation import Conversation, ConversationDraft
from trainer.messages.message import assistant_message, read_content, split_reasoning
from trainer.types import Message, ToolCallJson
from trainer.values.places import check_keys, described, fail, nearest, take_text

ANTHROPIC_ROLES = {"user": "user", "assistant": "assistant", "system": "system"}
BLOCK_TYPES = ("tool_use", "tool_result", "thinking")

_BLOCK_KEYS: Mapping[str, tuple[str, ...]] = {
    "text": ("text", "citations", "cache_control"),
    "thinking": ("thinking", "signature"),
    "tool_use": ("id", "name", "input", "cache_control"),
    "tool_result": ("tool_use_id", "content", "is_error", "cache_control"),
}
_OF_ROLE = {"user": ("text", "tool_result"), "assistant": ("text", "thinking", "tool_use"), "system": ("text",)}


def read_anthropic(row: Row) -> Conversation:
    """The conversation of a row with Anthropic's messages, `system` and tools with `input_schema`."""
    draft = ConversationDraft()
    add_system(draft, row, row.system(draft))
    if isinstance(row.get("messages"), str):
        draft.note("conversation written as JSON text")
    for turn, message in enumerate(row.turns()):
        _add_message(draft, turn, message)
    return row.conversation(draft, row.tools(draft))


def _add_message(draft: ConversationDraft, turn: int, message: Any) -> None:
    where = f"turn {turn}"
    if not isinstance(message, Mapping):
        fail(where, f"a message is {described(message)}; it must be an object with role and content")
    check_keys(message, ("role", "content"), where)
    role = message.get("role")
    if not isinstance(role, str) or role not in ANTHROPIC_ROLES:
        fail(where, f"role is {described(role)}; {nearest(role, tuple(ANTHROPIC_ROLES))} Use a known role")
    content = message.get("content")
    if not isinstance(content, str | list | tuple):
        fail(where, f"content is {described(content)}; it must be text or a list of blocks")
    raw = [{"type": "text", "text": content}] if isinstance(content, str) else content
    blocks = [_block(block, role, f"{where}, block {index}") for index, block in enumerate(raw)]
    if role == "assistant":
        _add_assistant(draft, turn, blocks)
    else:
        _add_other(draft, turn, role, blocks)


def _block(block: Any, role: str, where: str) -> Mapping[str, Any]:
    if not isinstance(block, Mapping):
        fail(where, f"it is {described(block)}; it must be an object with a type")
    kind = block.get("type")
    if not isinstance(kind, str) or kind not in _OF_ROLE[role]:
        fail(where, f"type is {described(kind)}; a {role} message may have: {', '.join(_OF_ROLE[role])}")
    check_keys(block, ("type", *_BLOCK_KEYS[kind]), where)
    return block


def _add_assistant(draft: ConversationDraft, turn: int, blocks: Sequence[Mapping[str, Any]]) -> None:
    where = f"turn {turn}"
    kinds = [block["type"] for block in blocks]
    order = {"thinking": 0, "text": 1, "tool_use": 2}
    for index, (kind, following) in enumerate(pairwise(kinds), start=1):
        if order[following] < order[kind]:
            fail(f"{where}, block {index}", f"{following} comes after {kind}; put thinking first and calls last")
    thoughts = [take_text(block.get("thinking"), where, "thinking") for block in blocks if block["type"] == "thinking"]
    texts = [take_text(block.get("text"), where, "text") for block in blocks if block["type"] == "text"]
    reasoning, content = "\n".join(thought for thought in thoughts if thought.strip()), "\n".join(texts)
    split = None if reasoning else split_reasoning(content)
    if split is not None:
        reasoning, content = split
    if thoughts or split:
        draft.note("thinking read as reasoning_content")
    calls, structs = _calls([block for block in blocks if block["type"] == "tool_use"], where)
    draft.note(*["tool_use read as a tool call"] * len(calls))
    draft.add(turn, assistant_message(content, calls, reasoning), structs=structs)


def _calls(blocks: Sequence[Mapping[str, Any]], where: str) -> tuple[list[ToolCallJson], list[int]]:
    calls, structs = [], []
    for index, block in enumerate(blocks):
        place = f"{where}, tool_use {index}"
        name, call_id, given = block.get("name"), block.get("id"), block.get("input")
        if not isinstance(name, str) or not name.strip():
            fail(place, f"name is {described(name)}; it must be the name of a tool")
        if call_id is not None and not isinstance(call_id, str):
            fail(place, f"id is {described(call_id)}; it must be text")
        calls.append(to_call(name, read_arguments(given, place, name), call_id or None))
        if isinstance(given, Mapping):
            structs.append(index)
    return calls, structs


def _add_other(draft: ConversationDraft, turn: int, role: str, blocks: Sequence[Mapping[str, Any]]) -> None:
    """Add the results of a user message as tool messages, then its text as what the user says."""
    texts: list[str] = []
    for index, block in enumerate(blocks):
        where = f"turn {turn}, block {index}"
        if block["type"] == "text":
            texts.append(take_text(block.get("text"), where, "text"))
            continue
        if texts:
            fail(where, "a tool_result comes after text; results come first")
        draft.add(turn, _result(draft, block, where))
    text = "\n".join(texts)
    if not text.strip() and (texts or not blocks):
        fail(f"turn {turn}", f"the {role} message is blank; write its text or remove it")
    if texts:
        draft.add(turn, Message(role="system" if role == "system" else "user", content=text))


def _result(draft: ConversationDraft, block: Mapping[str, Any], where: str) -> Message:
    content, notes = ("", ()) if block.get("content") is None else read_content(block["content"], where)
    is_error = block.get("is_error")
    if is_error is not None and not isinstance(is_error, bool):
        fail(where, f"is_error is {described(is_error)}; allowed: true, false")
    if is_error:
        draft.note("is_error left out; the text of the result stays")
    draft.note("tool_result read as a tool message", *notes)
    message = Message(role="tool", content=content)
    if block.get("tool_use_id") not in (None, ""):
        message["tool_call_id"] = take_text(block["tool_use_id"], where, "tool_use_id")
    return message
