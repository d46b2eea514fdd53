"""gpt-oss: messages with channels and recipients; one addressed to `functions.name` is a call (OpenAI Harmony)."""

import re
from collections.abc import Iterator, Sequence

from trainer.tool_calls.base import Region, Source, ToolCallFormat, attempt
from trainer.tool_calls.reading import CallParts, Finder, named_parts, read_json, skip_space, to_json
from trainer.types import Call

_START, _MESSAGE, _CHANNEL = "<|start|>", "<|message|>", "<|channel|>"
_CALL = "<|call|>"
_ENDS = ("<|end|>", _CALL, "<|return|>", _START)
_RECIPIENT = re.compile(r"\bto=(?:functions\.)?([^\s<]*)")
_REASONING = re.compile(r"<\|channel\|>\s*+analysis\b")
_TO_PEOPLE = ("user", "assistant")


def _scan(source: Source) -> Iterator[Region]:
    text = source.text
    finder = Finder(text)
    position = source.start
    while position < len(text):
        message = finder.find(_MESSAGE, position)
        start = _header_start(text, position, message, finder)
        header = text[start:message]
        recipient = _RECIPIENT.search(header) if _is_header(header, message < len(text)) else None
        if message == len(text):
            if recipient is not None and recipient[1] not in _TO_PEOPLE:
                yield Region(start, message, (attempt(text, (start, message), status="unclosed"),))
            return
        body = message + len(_MESSAGE)
        if recipient is not None and recipient[1] not in _TO_PEOPLE:
            region = _read_call(text, start, (body, recipient[1]), finder)
            yield region
            position = region.end
            continue
        end = finder.first(_ENDS, body)
        if _REASONING.search(header):
            yield Region(start, end, ())
        else:
            yield Region(start, body, ())
        position = end
        marker = next((marker for marker in _ENDS[:-1] if text.startswith(marker, end)), "")
        if marker:
            position = end + len(marker)
            yield Region(end, position, ())


def _header_start(text: str, position: int, message: int, finder: Finder) -> int:
    """Where the header of the message begins: its `<|start|>`, or `position` when the prompt held that."""
    start = finder.find(_START, position)
    return start if start < message else position


def _is_header(header: str, is_whole: bool) -> bool:
    """Whether text before `<|message|>`, or at the end of a cut-off text, is a header and not prose."""
    return is_whole or _CHANNEL in header or header.lstrip().startswith(("to=", _START))


def _read_call(text: str, start: int, head: tuple[int, str], finder: Finder) -> Region:
    body, name = head
    read = read_json(text, body)
    end = read.end if read.failure is None else finder.first(_ENDS, body)
    is_cut = read.failure == "unclosed" and end == len(text)
    parts = CallParts("unclosed") if is_cut else named_parts(name, read.value)
    after = skip_space(text, end)
    end = after + len(_CALL) if text.startswith(_CALL, after) else end
    return Region(start, end, (attempt(text, (start, end), **parts._asdict()),))


def _write(calls: Sequence[Call]) -> str:
    # The first message follows the generation prompt, which ends in `<|start|>assistant`.
    messages = [
        f" to=functions.{call.name}<|channel|>commentary json<|message|>{to_json(call.arguments)}<|call|>"
        for call in calls
    ]
    return f"{_START}assistant".join(messages)


OPENAI = ToolCallFormat("openai", "openai", _scan, _write)
