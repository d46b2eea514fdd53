"""gpt-oss (OpenAI Harmony): messages have channels and recipients. One with recipient `functions.name` is a call."""

import re
from collections.abc import Iterator, Sequence

from trainer.tool_calls.base import Region, Source, ToolCallFormat, attempt
from trainer.tool_calls.readers import CallParts, Finder, named_parts
from trainer.types import Call
from trainer.values.json_reader import read_json, skip_space, to_json

_START, _MESSAGE = "<|start|>", "<|message|>"
_CALL = "<|call|>"
_ENDS = ("<|end|>", _CALL, "<|return|>", _START)
_RECIPIENT = re.compile(r"\bto=(functions\.)?([^\s<]*)")
_AFTER_RECIPIENT = re.compile(r"(?:<\|\w++\|>|[^\S\n]++|[^\s<]{1,40}+|<){0,6}+")
_CHANNEL = re.compile(r"<\|channel\|>\s*+(?:analysis|commentary|final)\b")
_REASONING = re.compile(r"<\|channel\|>\s*+analysis\b")
_PEOPLE = ("user", "assistant")


def _scan(source: Source) -> Iterator[Region]:
    text = source.text
    finder = Finder(text)
    position = source.start
    while position < len(text):
        message = finder.find(_MESSAGE, position)
        start = _header_start(text, position, message, finder)
        header = text[start:message]
        is_whole = message < len(text)
        tool = _tool_called(header) if is_whole or _may_be_header(header) else None
        if tool is not None:
            region = _read_call(text, start, (message, tool), finder)
            position = region.end
        elif is_whole:
            body = message + len(_MESSAGE)
            position = finder.first(_ENDS, body)
            region = Region(start, position if _REASONING.search(header) else body, ())
        else:
            return
        yield region
        marker = next((marker for marker in _ENDS[:-1] if text.startswith(marker, position)), "")
        if marker:
            yield Region(position, position + len(marker), ())
            position += len(marker)


def _header_start(text: str, position: int, message: int, finder: Finder) -> int:
    """Return where the header of the message begins: at `<|start|>`, or at `position` if that was in the prompt."""
    start = finder.find(_START, position)
    return start if start < message else position


def _may_be_header(header: str) -> bool:
    """Return whether the end of a truncated text is the beginning of a header and not prose."""
    return _CHANNEL.search(header) is not None or header.lstrip().startswith(("to=", _START))


def _tool_called(header: str) -> str | None:
    """Return the tool that a message is addressed to, or None if it is addressed to a person.

    A recipient is followed by a channel and a type of content at most; anything longer is prose that mentions one.
    """
    found = _RECIPIENT.finditer(header)
    recipient = next((each for each in found if _AFTER_RECIPIENT.fullmatch(header, each.end())), None)
    if recipient is None or (not recipient[1] and recipient[2] in _PEOPLE):
        return None
    return recipient[2]


def _read_call(text: str, start: int, head: tuple[int, str], finder: Finder) -> Region:
    message, tool = head
    body = message + len(_MESSAGE)
    # Read the JSON before searching for the end, because a string in it may contain a marker.
    read = read_json(text, body)
    after = skip_space(text, read.end)
    is_whole = read.failure is None and (after == len(text) or text.startswith(_ENDS, after))
    end = after if is_whole else finder.first(_ENDS, read.end if read.failure is None else body)
    is_cut = message == len(text) or (read.failure == "unclosed" and end == len(text))
    # A server hands over the whole message as arguments, so text after the JSON makes them unreadable.
    parts = CallParts("unclosed") if is_cut else named_parts(tool, read.value if is_whole else None)
    end += len(_CALL) if text.startswith(_CALL, end) else 0
    return Region(start, end, (attempt(text, (start, end), **parts._asdict()),))


def _write(calls: Sequence[Call]) -> str:
    # The first message follows the generation prompt, which ends with `<|start|>assistant`.
    messages = [
        f" to=functions.{call.name}<|channel|>commentary json<|message|>{to_json(call.arguments)}<|call|>"
        for call in calls
    ]
    return f"{_START}assistant".join(messages)


OPENAI = ToolCallFormat("openai", "openai", _scan, _write)
