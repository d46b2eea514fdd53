"""Write a conversation as a row of this project's layout, as one line of JSON. Reads no other layout."""

import datetime
import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from trainer.errors import DataError
from trainer.layouts.registry import get_layout
from trainer.messages.conversation import Conversation
from trainer.tools.forms import tools_of
from trainer.types import FunctionJson, Message, Tool
from trainer.util.files import json_line
from trainer.values.places import described, fail

UNKNOWN_DATE = "unknown"
"""The date of a row that has none."""

_LENGTH_OF_DATE = len("2025-03-14")


class ProjectRow(NamedTuple):
    """A row as a line of JSON without its line break, and what was changed to write it."""

    line: str
    converted: tuple[str, ...] = ()


def project_row(conversation: Conversation) -> ProjectRow:
    """The row of a conversation that has a session id. Reading the row gives an equal conversation.

    Arguments are JSON text, so a null in them is the author's. Tools are written if the conversation has a place for
    them, as a list. If a list would lose a null of a schema, because tables fill in nulls, they are JSON text.

    Raises:
        DataError: a value has no JSON form, the date is not a date, or nobody can tell whether a null was filled in.
    """
    _refuse_undecided_nulls(conversation)
    date = _date(conversation.date)
    line = _line(conversation, date)
    _check_reading(conversation, line)
    is_cut = conversation.date is not None and conversation.date != date
    return ProjectRow(line, ("date and time read as date",) if is_cut else ())


def _check_reading(conversation: Conversation, line: str) -> None:
    """Refuse a row that would be read as another conversation, for example because text opens with a <think> block."""
    try:
        again = get_layout("project").read(json.loads(line))
    except DataError as error:
        raise DataError(f"the row could not be read back: {error}") from error
    if _line(again, _date(again.date)) == line:
        return
    pairs = zip(conversation.messages, again.messages, strict=False)
    turn = next((turn for turn, (before, after) in enumerate(pairs) if before != after), None)
    fail("" if turn is None else f"turn {turn}", "it would be read differently from the row that is written, as this "
         "project gives its text a meaning, such as a <think> block; rewrite the text or remove the row")  # fmt: skip


def _line(conversation: Conversation, date: str) -> str:
    row: dict[str, Any] = {
        "session_id": conversation.session_id,
        "inferred_date": date,
        "conversation": [_message(message, turn) for turn, message in enumerate(conversation.messages)],
    }
    if conversation.tools is not None:
        row["tools"] = _tools(conversation.tools)
    return _json(row, "", "the row")


def _message(message: Message, turn: int) -> dict[str, Any]:
    written: dict[str, Any] = {"role": message["role"], "content": message.get("content") or ""}
    if message.get("reasoning_content"):
        written["reasoning_content"] = message["reasoning_content"]
    calls = message.get("tool_calls") or ()
    if calls:
        written["tool_calls"] = [
            {"id": call["id"], "type": "function", "function": _function(call["function"], turn)} for call in calls
        ]
    for key in ("tool_call_id", "name"):
        if message.get(key) is not None:
            written[key] = message.get(key)
    if message.get("alternatives"):
        written["alternatives"] = _json(message["alternatives"], f"turn {turn}", "the list of alternatives")
    if message.get("train") is False:
        written["train"] = False
    return written


def _function(function: FunctionJson, turn: int) -> dict[str, str]:
    name = function["name"]
    what = f'the arguments of the call to "{name:.60}"'
    return {"name": name, "arguments": _json(function["arguments"], f"turn {turn}", what)}


def _tools(tools: Sequence[Tool]) -> list[Tool] | str:
    text = _json(list(tools), "", "the list of tools")
    written: list[Tool] = json.loads(text)
    loses_null = "null" in text and tools_of(written, "the list of tools").tools != tuple(written)
    return text if loses_null else written


def _json(value: Any, where: str, what: str) -> str:
    try:
        return json_line(value)
    except ValueError:
        fail(where, f"{what} cannot be written as JSON: a number is not finite; correct it")
    except TypeError as error:
        fail(where, f"{what} cannot be written as JSON ({error}); write the value as text or as a number")


def _date(text: str | None) -> str:
    if text is None or text == UNKNOWN_DATE:
        return UNKNOWN_DATE
    day, rest = text[:_LENGTH_OF_DATE], text[_LENGTH_OF_DATE:]
    try:
        parsed = datetime.date.fromisoformat(day)
    except ValueError:
        parsed = None
    if parsed is None or parsed.isoformat() != day or rest[:1] not in ("", "T", " "):
        fail("", f'the date is {described(text)}; write it as YYYY-MM-DD or "{UNKNOWN_DATE}", or read the rows without '
             "it: give the layout a date column of null")  # fmt: skip
    return day


def _refuse_undecided_nulls(conversation: Conversation) -> None:
    """Refuse nulls of calls whose schema is not there: a table may have filled them in."""
    for turn, index in _undecided_calls(conversation):
        function = (conversation.messages[turn].get("tool_calls") or [])[index]["function"]
        key = _null_key(function["arguments"])
        if key is not None:
            fail(
                f"turn {turn}, call {index}",
                f'argument "{key:.60}" of the call to "{function["name"]:.60}" is null, which a table format may have '
                "filled in, and the row has no such tool to tell; add the tool to the row",
            )


def _undecided_calls(conversation: Conversation) -> Iterator[tuple[int, int]]:
    if conversation.tools is None:
        yield from conversation.unrestored
        return
    known = {tool["function"]["name"] for tool in conversation.tools}
    for turn, message in enumerate(conversation.messages):
        for index, call in enumerate(message.get("tool_calls") or ()):
            if call["function"]["name"] not in known:
                yield turn, index


def _null_key(value: Any) -> str | None:
    """The first key with null anywhere in a value; None if there is no null in an object."""
    if isinstance(value, Mapping):
        for key, inner in value.items():
            found = str(key) if inner is None else _null_key(inner)
            if found is not None:
                return found
    elif isinstance(value, list | tuple):
        return next((found for item in value if (found := _null_key(item)) is not None), None)
    return None
