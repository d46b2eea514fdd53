"""Glaive rows: the whole conversation as one text with `USER:`, `ASSISTANT:` and `FUNCTION RESPONSE:`."""

import re
from typing import NamedTuple

from trainer.layouts.layout import Row, add_system
from trainer.layouts.readers.system_tools import tools_in_prose, without
from trainer.messages.calls import read_arguments, read_calls, to_call
from trainer.messages.conversation import Conversation, ConversationDraft
from trainer.messages.message import assistant_message, split_reasoning
from trainer.types import Message, ToolCallJson
from trainer.values.json_reader import read_json
from trainer.values.literals import read_literal
from trainer.values.places import fail, take_text

GLAIVE_ROLES = {"USER": "user", "ASSISTANT": "assistant", "FUNCTION RESPONSE": "tool"}

TURN = re.compile(r"^[ \t]*+(USER|ASSISTANT|FUNCTION RESPONSE):[ \t]*+", re.MULTILINE)
_CALL, _END = "<functioncall>", "<|endoftext|>"
# Arguments are often JSON between single quotes, in which an apostrophe is not escaped.
_QUOTED = re.compile(
    r"""\s*+\{\s*+["']name["']\s*+:\s*+["']([^"']*+)["']\s*+,\s*+["']arguments["']\s*+:\s*+'(?=\s*+\{)"""
)
_QUOTED_END = re.compile(r"\s*+'\s*+\}")
_SYSTEM = re.compile(r"\A\s*+SYSTEM:[ ]*+")
_SENTENCES = (
    re.compile(r",? with access to the following functions(?=\. Use them if required)"),
    re.compile(r" Use them if required(?:\.| *-)?[ ]*+"),
)


class _Read(NamedTuple):
    call: ToolCallJson
    end: int


def read_glaive(row: Row) -> Conversation:
    """The conversation of a row with `chat`, and the tools as JSON in its system prompt."""
    draft = ConversationDraft()
    tools = row.tools(draft)
    system = row.system(draft)
    if system is not None:
        text = _SYSTEM.sub("", system).strip()
        taken = tools_in_prose(text, r"[{\[]", row.place("system"))
        if taken is not None:
            draft.note(*taken.converted)
            text, tools = without(taken.text, _SENTENCES), tools or taken.tools
        add_system(draft, row, text or None)
    chat = take_text(row.get("messages"), row.place("messages"), "the conversation")
    marks = list(TURN.finditer(chat))
    if not marks:
        fail(
            row.place("messages"),
            f"no turn begins with {', '.join(f'{word}:' for word in GLAIVE_ROLES)}; mark the turns",
        )
    if chat[: marks[0].start()].strip():
        fail(row.place("messages"), f"text before the first turn: {chat[: marks[0].start()].strip()[:60]!r}; remove it")
    ends = [mark.start() for mark in marks[1:]] + [len(chat)]
    for turn, (mark, end) in enumerate(zip(marks, ends, strict=True)):
        _add_turn(draft, turn, mark[1], chat[mark.end() : end].strip())
    return row.conversation(draft, tools if tools is not None else ())


def _add_turn(draft: ConversationDraft, turn: int, word: str, text: str) -> None:
    where = f"turn {turn}"
    text = text.removesuffix(_END).rstrip()
    if _END in text:
        fail(where, f"the turn goes on after {_END}; begin a new turn there")
    if word == "ASSISTANT":
        _add_assistant(draft, turn, text)
        return
    if _CALL in text:
        fail(where, f"{_CALL} is in a {word} turn; only ASSISTANT calls functions")
    if word == "USER" and not text:
        fail(where, "the USER turn is blank; write what the user says, or remove the turn")
    draft.add(turn, Message(role="user" if word == "USER" else "tool", content=text))


def _add_assistant(draft: ConversationDraft, turn: int, text: str) -> None:
    where = f"turn {turn}"
    reasoning, text = split_reasoning(text) or ("", text)
    if reasoning:
        draft.note("<think> block read as reasoning_content")
    pieces: list[str] = []
    calls: list[ToolCallJson] = []
    position = 0
    while (start := text.find(_CALL, position)) >= 0:
        pieces.append(text[position:start].strip())
        read = _call(text, start + len(_CALL), f"{where}, call {len(calls)}")
        calls.append(read.call)
        position = read.end
    pieces.append(text[position:].strip())
    message = assistant_message("\n".join(piece for piece in pieces if piece), calls, reasoning)
    draft.note(*["call written as text"] * len(calls))
    if calls:
        draft.add_calls(turn, message)
    else:
        draft.add(turn, message)


def _call(text: str, position: int, where: str) -> _Read:
    """The call after the marker, as JSON, with its arguments as JSON in single quotes, or as a Python dictionary."""
    read = read_json(text, position)
    quoted = _QUOTED.match(text, position)
    if read.failure is not None and quoted:
        inner = read_json(text, quoted.end())
        ending = _QUOTED_END.match(text, inner.end)
        if inner.failure is None and ending:
            return _Read(to_call(quoted[1], read_arguments(inner.value, where, quoted[1])), ending.end())
    if read.failure is not None:
        read = read_literal(text, position)
    if read.failure is not None or not isinstance(read.value, dict):
        fail(where, f"the text after {_CALL} is not a call: {text[position : position + 80].strip()!r}; correct it")
    return _Read(read_calls([read.value], where, "function call").calls[0], read.end)
