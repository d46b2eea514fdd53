"""Hermes rows: tools between `<tools>` in the system prompt, calls in `<tool_call>`, results in `<tool_response>`."""

import json
import re
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import Any, NamedTuple

from trainer.layouts.layout import Row, add_system, check_one_system
from trainer.layouts.readers.sharegpt import SHAREGPT_ROLES, words_of
from trainer.layouts.readers.system_tools import SystemTools, tools_between, without
from trainer.messages.calls import read_text_calls
from trainer.messages.conversation import Conversation, ConversationDraft
from trainer.messages.message import message_of
from trainer.tool_calls import get_format
from trainer.types import Message, Tool, ToolCallJson
from trainer.values.json_reader import read_json, skip_space
from trainer.values.places import fail, names

HERMES_ROLES = {word: role for word, role in SHAREGPT_ROLES.items() if word not in ("function_call", "tool_call")}

_OPEN, _CLOSE = "<tool_response>", "</tool_response>"
_SCHEMA = re.compile(r"Use the following (?:pydantic model )?json schema for (?:each|every) tool call you will make:")
_SENTENCES = tuple(
    re.compile(pattern)
    for pattern in (
        r"You are provided with function signatures within <tools>\s*+</tools> XML tags\.?[ ]?",
        r"(?:Here are|The following are) the available tools:?[ ]?",
        r"For each function call,? return a json object with (?:the )?function name and arguments within "
        r"<tool_call>\s*+</tool_call> (?:XML )?tags(?: as follows)?[:.]?\s*+"
        r"(?:<tool_call>[^<]*+(?:<[\w-]++>[^<]*+)*+</tool_call>)?",
    )
)


class _Result(NamedTuple):
    name: str | None
    content: str


def read_hermes(row: Row) -> Conversation:
    """The conversation of a Hermes row. The tools may also be in a column; both must name the same."""
    draft = ConversationDraft()
    turns = row.turns()
    column = row.tools(draft)
    system = row.system(draft)
    tools: tuple[Tool, ...] | None = column
    if system is not None:
        taken = _system(system, row.place("system"), column)
        tools = taken.tools if tools is None else tools or taken.tools
        draft.note(*taken.converted)
        add_system(draft, row, taken.text or None)
    for turn, message in enumerate(turns):
        where = f"turn {turn}"
        text_calls = partial(_text_calls, tools=tools)
        words = words_of(message, HERMES_ROLES)
        read = message_of(message, where, replace(words, text_calls=text_calls))
        draft.note(*read.converted)
        if read.message["role"] == "system" and turn == 0:
            taken = _system(read.message.get("content") or "", where, column)
            tools = taken.tools if tools is None else tools or taken.tools
            draft.note(*taken.converted)
            if taken.text:
                draft.add(turn, {**read.message, "content": taken.text})
            check_one_system(draft, row)
        elif read.message["role"] == "tool":
            _add_results(draft, turn, read.message)
        else:
            draft.add(turn, read.message, structs=read.structs)
    return row.conversation(draft, tools if tools is not None else ())


def _system(text: str, where: str, column: Sequence[Tool] | None) -> SystemTools:
    taken = tools_between(text, "<tools>", "</tools>", where)
    if taken is None:
        return SystemTools((), text)
    if column and taken.tools and _names(column) != _names(taken.tools):
        fail(where, f"the system prompt offers {names(_names(taken.tools))}, but the tools column "
             f"{names(_names(column))}; correct one of them")  # fmt: skip
    return SystemTools(taken.tools, without(taken.text, _SENTENCES, before_object=_SCHEMA), taken.converted)


def _names(tools: Sequence[Tool]) -> list[str]:
    return sorted(tool["function"]["name"] for tool in tools)


def _text_calls(
    content: str, where: str, *, tools: Sequence[Tool] | None
) -> tuple[str, list[ToolCallJson], tuple[str, ...]]:
    if "<tool_call>" not in content:
        return content, [], ()
    read = read_text_calls(get_format("hermes"), content, where, tools)
    if not read.calls:
        fail(where, "there is <tool_call> in reasoning that is not closed; close it with </think>")
    return read


def _add_results(draft: ConversationDraft, turn: int, message: Message) -> None:
    """Add each `<tool_response>` of a turn as a result of its own; text without one is one result."""
    content = message.get("content") or ""
    blocks = _blocks(content, f"turn {turn}")
    if not blocks:
        draft.add(turn, message)
        return
    for block in blocks:
        result = _unwrapped(block)
        read = Message(role="tool", content=result.content)
        if result.name or message.get("name"):
            read["name"] = result.name or message.get("name")
        if len(blocks) == 1 and message.get("tool_call_id"):
            read["tool_call_id"] = message["tool_call_id"]
        draft.add(turn, read)
        draft.note("tool result read from a <tool_response> block")


def _blocks(text: str, where: str) -> list[str]:
    blocks, position = [], 0
    while (start := text.find(_OPEN, position)) >= 0:
        end = text.find(_CLOSE, start)
        if end < 0:
            fail(where, f"{_OPEN} is not closed; add {_CLOSE}")
        if text[position:start].strip():
            fail(where, f"there is text outside {_OPEN}: {text[position:start].strip()[:60]!r}; move it inside")
        blocks.append(text[start + len(_OPEN) : end].strip())
        position = end + len(_CLOSE)
    if blocks and text[position:].strip():
        fail(where, f"there is text outside {_OPEN}: {text[position:].strip()[:60]!r}; move it inside")
    return blocks


def _unwrapped(block: str) -> _Result:
    """The result inside `{"name": …, "content": …}`; any other text is the result itself."""
    read = read_json(block, 0)
    value: Any = read.value if read.failure is None and skip_space(block, read.end) == len(block) else None
    if not isinstance(value, dict) or set(value) != {"name", "content"} or not isinstance(value["name"], str):
        return _Result(None, block)
    content = value["content"]
    return _Result(value["name"], content if isinstance(content, str) else json.dumps(content, ensure_ascii=False))
