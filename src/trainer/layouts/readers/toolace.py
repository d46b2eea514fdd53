"""ToolACE rows: the tools as a JSON list in the system prompt, calls written as `[f(a=1), g(b="x")]`."""

import json
import re
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import Any, NamedTuple

from trainer.layouts.layout import Row, add_system
from trainer.layouts.readers.sharegpt import words_of
from trainer.layouts.readers.system_tools import tools_in_prose, without
from trainer.messages.calls import read_text_calls, to_call
from trainer.messages.conversation import Conversation, ConversationDraft
from trainer.messages.message import message_of
from trainer.tool_calls import get_format
from trainer.types import Message, Role, Tool, ToolCallJson
from trainer.values.json_reader import read_json, skip_space
from trainer.values.places import fail

TOOLACE_ROLES: dict[str, Role] = {
    "user": "user",
    "human": "user",
    "assistant": "assistant",
    "gpt": "assistant",
    "system": "system",
    "tool": "tool",
}
START = r"\[\s*+[{\]]"
CALLS_AT_START = re.compile(r"\s*+\[\s*+[^\W\d][\w ./:\-]{0,120}\(")
_SENTENCES = tuple(
    re.compile(pattern)
    for pattern in (
        r"Here is a list of functions in JSON format that you can invoke:?",
        r"^[.]?[ ]*+Should you decide to return the function call\(s\)[., ]*+",
        r"Should you decide to return the function call\(s\)[., ]*+",
        r"Put it in the format of \[func1\([^\]]*+\]",
        r"NO other text MUST be included\.?",
    )
)
_PLAIN_NAME = re.compile(r"[^\W\d][\w.\-]*+")


def read_toolace(row: Row) -> Conversation:
    """The conversation of a ToolACE row; the tools may also be in a column of their own."""
    draft = ConversationDraft()
    tools = row.tools(draft)
    system = row.system(draft)
    if system is not None:
        tools = _add_system(draft, row, system, tools)
    names = [tool["function"]["name"] for tool in tools or ()]
    for turn, message in enumerate(row.turns()):
        where = f"turn {turn}"
        words = replace(words_of(message, TOOLACE_ROLES), text_calls=partial(_text_calls, names=names))
        read = message_of(message, where, words)
        draft.note(*read.converted)
        if read.message["role"] == "system" and turn == 0 and system is None:
            tools = _add_system(draft, row, read.message.get("content") or "", tools)
            names = [tool["function"]["name"] for tool in tools or ()]
        elif read.message["role"] == "tool":
            _add_results(draft, turn, read.message)
        else:
            draft.add(turn, read.message, structs=read.structs)
    return row.conversation(draft, tools if tools is not None else ())


def _add_system(draft: ConversationDraft, row: Row, text: str, column: tuple[Tool, ...] | None) -> tuple[Tool, ...]:
    taken = tools_in_prose(text, START, row.place("system"))
    if taken is None:
        add_system(draft, row, text)
        return column or ()
    if column and [tool["function"]["name"] for tool in column] != [tool["function"]["name"] for tool in taken.tools]:
        fail(row.place("system"), "the system prompt and the tools column offer different tools; correct one of them")
    draft.note(*taken.converted)
    add_system(draft, row, without(taken.text, _SENTENCES) or None)
    return column or taken.tools


def _text_calls(content: str, where: str, *, names: Sequence[str]) -> tuple[str, list[ToolCallJson], tuple[str, ...]]:
    if not CALLS_AT_START.match(content):
        return content, [], ()
    text, back = _plain_names(content, names)
    read = read_text_calls(get_format("pythonic"), text, where, None)
    if not read.calls and content.rstrip().endswith(")]"):
        fail(where, f"calls cannot be read: {content.strip()[:80]!r}; write [name(key=value, …)] with a tool's name")
    if not read.calls:
        return content, [], ()
    calls = [_named_back(call, back) for call in read.calls]
    return _replaced(read.content, back), calls, read.converted


class _Back(NamedTuple):
    """The names that stand-ins stand for, and a pattern that finds the stand-ins."""

    names: Sequence[str]
    pattern: re.Pattern[str]


def _plain_names(text: str, names: Sequence[str]) -> tuple[str, _Back]:
    """The text with a stand-in for each tool whose name the format cannot write, such as `Market Trends API`."""
    odd = {name: index for index, name in enumerate(names) if not _PLAIN_NAME.fullmatch(name)}
    lengths = sorted({len(name) for name in odd}, reverse=True)  # a long name may end like a short one
    longest = max((len(match[0]) for match in re.finditer("stand_in_*+", text)), default=0)
    prefix = "stand_in".ljust(longest + 1, "_")  # in no text
    pieces, done = [], 0
    for bracket in re.finditer(r"\(", text) if odd else ():
        end = bracket.start()
        name = next((text[end - n : end] for n in lengths if end - n >= done and text[end - n : end] in odd), None)
        if name is not None:
            pieces += [text[done : end - len(name)], f"{prefix}{odd[name]}x"]
            done = end
    return "".join([*pieces, text[done:]]), _Back(names, re.compile(rf"{prefix}(\d++)x"))


def _named_back(call: ToolCallJson, back: _Back) -> ToolCallJson:
    function = call["function"]
    return to_call(_replaced(function["name"], back), _replaced(function["arguments"], back))


def _replaced(value: Any, back: _Back) -> Any:
    """A value in which stand-ins are names again; they may have got into its text."""
    if isinstance(value, str):
        return back.pattern.sub(lambda match: back.names[int(match[1])], value)
    if isinstance(value, list):
        return [_replaced(item, back) for item in value]
    if isinstance(value, dict):
        return {_replaced(key, back): _replaced(item, back) for key, item in value.items()}
    return value


def _add_results(draft: ConversationDraft, turn: int, message: Message) -> None:
    """Add the results of a turn. One turn may hold those of all the calls: `[{"name": …, "results": …}, …]`."""
    content = message.get("content") or ""
    read = read_json(content, 0)
    items = read.value if read.failure is None and skip_space(content, read.end) == len(content) else None
    is_list = isinstance(items, list) and items and all(_is_result(item) for item in items)
    if not is_list or items is None:
        draft.add(turn, message)
        return
    for item in items:
        value = item["results"]
        text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
        draft.add(turn, Message(role="tool", content=text, name=item["name"]))
    draft.note("tool results read from a list of results")


def _is_result(item: Any) -> bool:
    return isinstance(item, dict) and set(item) == {"name", "results"} and isinstance(item["name"], str)
