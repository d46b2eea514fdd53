"""ShareGPT rows: a list of `from`/`value` turns, with calls and their results as turns of their own."""

from collections.abc import Mapping
from typing import Any

from trainer.layouts.layout import Row, add_system, check_one_system
from trainer.messages.calls import read_calls, read_json_calls
from trainer.messages.conversation import Conversation, ConversationDraft
from trainer.messages.message import Words, assistant_message, message_of
from trainer.types import Role
from trainer.values.places import described, fail

CALL_ROLES = ("function_call", "tool_call")
SHAREGPT_ROLES: Mapping[str, Role] = {
    "human": "user",
    "user": "user",
    "gpt": "assistant",
    "assistant": "assistant",
    "chatgpt": "assistant",
    "model": "assistant",
    "system": "system",
    "developer": "system",
    "tool": "tool",
    "observation": "tool",
    "function_response": "tool",
    "tool_response": "tool",
    **dict.fromkeys(CALL_ROLES, "assistant"),
}


def read_sharegpt(row: Row) -> Conversation:
    """The conversation of a ShareGPT row; the system prompt may be a column or the first turn."""
    draft = ConversationDraft()
    add_system(draft, row, row.system(draft))
    if isinstance(row.get("messages"), str):
        draft.note("conversation written as JSON text")
    for turn, message in enumerate(row.turns()):
        _add_turn(draft, turn, message)
        if turn == 0:
            check_one_system(draft, row)
    return row.conversation(draft, row.tools(draft))


def words_of(message: Any, roles: Mapping[str, Role]) -> Words:
    """The keys of a message: `from` and `value`, or `role` and `content`."""
    if isinstance(message, Mapping) and message.get("from") is None and message.get("role") is not None:
        return Words(roles)
    return Words(roles, role_key="from", content_key="value")


def _add_turn(draft: ConversationDraft, turn: int, message: Any) -> None:
    where = f"turn {turn}"
    words = words_of(message, SHAREGPT_ROLES)
    is_call = isinstance(message, Mapping) and message.get(words.role_key) in CALL_ROLES
    if not is_call:
        read = message_of(message, where, words)
        draft.note(*read.converted)
        draft.add(turn, read.message, structs=read.structs)
        return
    value = message.get(words.content_key)
    if isinstance(value, str):
        calls = read_json_calls(value, where, f"{words.content_key} of a {message[words.role_key]} turn")
    elif isinstance(value, Mapping | list | tuple) and value:
        calls = read_calls([value] if isinstance(value, Mapping) else value, where, words.content_key)
    else:
        fail(where, f"{words.content_key} is {described(value)}; it must be the JSON text of a call")
    # The same checks of keys, train and weight as for any other assistant turn, with the calls in place of text.
    read = message_of({**message, words.content_key: "call"}, where, words)
    if read.message.get("tool_calls"):
        fail(where, f"a {message[words.role_key]} turn has calls under another key as well; keep one")
    filled = assistant_message("", calls.calls, read.message.get("reasoning_content") or "")
    if read.message.get("train") is False:
        filled["train"] = False
    draft.note(*read.converted, *calls.converted)
    draft.add_calls(turn, filled, structs=calls.structs)
