"""Formats with one JSON block between markers per call: Hermes, DeepSeek V3 and V3.1, Mistral from v11 on."""

import re
from collections.abc import Iterator, Sequence
from functools import partial

from trainer.tool_calls.base import Region, Source, ToolCallFormat, attempt, scan_marked
from trainer.tool_calls.readers import CallParts, Finder, call_parts, named_parts
from trainer.types import Call, CallStatus
from trainer.values.json_reader import read_json, skip_space, to_json

_HERMES_OPEN, _HERMES_CLOSE = "<tool_call>", "</tool_call>"
_MISTRAL_OPEN = "[TOOL_CALLS]"
# All quantifiers are possessive (`*+`): backtracking over malicious white space would take quadratic time.
_MISTRAL_HEAD = re.compile(r"\[TOOL_CALLS\]\s*+([^\s\[\]{}]*+)\s*+(?:\[CALL_ID\]\s*+\w*+\s*+)?\[ARGS\]")
_DEEPSEEK_OPEN, _DEEPSEEK_CLOSE = "<｜tool▁call▁begin｜>", "<｜tool▁call▁end｜>"
_DEEPSEEK_BEGIN, _DEEPSEEK_END = "<｜tool▁calls▁begin｜>", "<｜tool▁calls▁end｜>"
_V3_HEAD = re.compile(r"<｜tool▁call▁begin｜>\s*+function\s*+<｜tool▁sep｜>\s*+([^\s`<]*+)\s*+```(?:json)?")
_V3_TAIL = re.compile(r"\s*+```\s*+<｜tool▁call▁end｜>")
_V31_HEAD = re.compile(r"<｜tool▁call▁begin｜>\s*+([^\s<]*+)\s*+<｜tool▁sep｜>")
_V31_TAIL = re.compile(r"\s*+<｜tool▁call▁end｜>")


def _scan_hermes(source: Source) -> Iterator[Region]:
    return scan_marked(source, (_HERMES_OPEN,), _read_hermes)


def _read_hermes(source: Source, start: int, finder: Finder) -> Region:
    text, body = source.text, start + len(_HERMES_OPEN)
    # Read the JSON before searching for the closing marker, because a string in it may contain the marker.
    read = read_json(text, body)
    close = skip_space(text, read.end)
    if read.failure is None and text.startswith(_HERMES_CLOSE, close):
        return _region(text, (start, close + len(_HERMES_CLOSE)), call_parts(read.value))
    end, is_closed = _block_end(text, body, finder, opening=_HERMES_OPEN, closing=_HERMES_CLOSE)
    return _region(text, (start, end), CallParts("invalid_json" if is_closed else "unclosed"))


def _write_hermes(calls: Sequence[Call]) -> str:
    bodies = [to_json({"name": call.name, "arguments": call.arguments}) for call in calls]
    return "\n".join(f"{_HERMES_OPEN}\n{body}\n{_HERMES_CLOSE}" for body in bodies)


def _scan_deepseek(source: Source, head: re.Pattern[str], tail: re.Pattern[str]) -> Iterator[Region]:
    return scan_marked(source, (_DEEPSEEK_OPEN,), partial(_read_deepseek, head=head, tail=tail))


def _read_deepseek(
    source: Source, start: int, finder: Finder, *, head: re.Pattern[str], tail: re.Pattern[str]
) -> Region:
    text = source.text
    opening = head.match(text, start)
    body = opening.end() if opening else start + len(_DEEPSEEK_OPEN)
    name = opening[1] if opening else ""
    if opening is not None:
        read = read_json(text, body)
        ending = tail.match(text, read.end)
        if read.failure is None and ending is not None:
            return _region(text, (start, ending.end()), named_parts(name, read.value))
    end, is_closed = _block_end(text, body, finder, opening=_DEEPSEEK_OPEN, closing=_DEEPSEEK_CLOSE)
    return _region(text, (start, end), named_parts(name, None) if is_closed else CallParts("unclosed"))


def _write_v3(calls: Sequence[Call]) -> str:
    blocks = [
        f"{_DEEPSEEK_OPEN}function<｜tool▁sep｜>{call.name}\n```json\n{to_json(call.arguments)}\n```{_DEEPSEEK_CLOSE}"
        for call in calls
    ]
    return _DEEPSEEK_BEGIN + "\n".join(blocks) + _DEEPSEEK_END


def _write_v31(calls: Sequence[Call]) -> str:
    blocks = [f"{_DEEPSEEK_OPEN}{call.name}<｜tool▁sep｜>{to_json(call.arguments)}{_DEEPSEEK_CLOSE}" for call in calls]
    return _DEEPSEEK_BEGIN + "".join(blocks) + _DEEPSEEK_END


def _scan_mistral(source: Source) -> Iterator[Region]:
    return scan_marked(source, (_MISTRAL_OPEN,), _read_mistral)


def _read_mistral(source: Source, start: int, finder: Finder) -> Region:
    text = source.text
    end = finder.find(_MISTRAL_OPEN, start + len(_MISTRAL_OPEN))
    head = _MISTRAL_HEAD.match(text, start)
    if head is None:
        status: CallStatus = "unclosed" if end == len(text) else "missing_name"
        return _region(text, (start, end), CallParts(status))
    read = read_json(text, head.end())
    if read.failure is None:
        return _region(text, (start, read.end), named_parts(head[1], read.value))
    is_cut = read.failure == "unclosed" or end < len(text)
    return _region(text, (start, end), CallParts("unclosed") if is_cut else named_parts(head[1], None))


def _write_mistral(calls: Sequence[Call]) -> str:
    return "".join(f"{_MISTRAL_OPEN}{call.name}[ARGS]{to_json(call.arguments)}" for call in calls)


def _region(text: str, span: tuple[int, int], parts: CallParts) -> Region:
    return Region(*span, (attempt(text, span, **parts._asdict()),))


def _block_end(text: str, body: int, finder: Finder, *, opening: str, closing: str) -> tuple[int, bool]:
    """Return where an unreadable attempt ends, and whether it has its closing marker.

    Without the marker, it ends where the next attempt opens or where the text ends.
    """
    close, next_open = finder.find(closing, body), finder.find(opening, body)
    return (close + len(closing), True) if close < next_open else (next_open, False)


HERMES = ToolCallFormat("hermes", "hermes", _scan_hermes, _write_hermes)
DEEPSEEK_V3 = ToolCallFormat(
    "deepseek_v3",
    "deepseek_v3",
    partial(_scan_deepseek, head=_V3_HEAD, tail=_V3_TAIL),
    _write_v3,
    wrappers=(_DEEPSEEK_BEGIN, _DEEPSEEK_END),
)
DEEPSEEK_V31 = ToolCallFormat(
    "deepseek_v31",
    "deepseek_v31",
    partial(_scan_deepseek, head=_V31_HEAD, tail=_V31_TAIL),
    _write_v31,
    wrappers=(_DEEPSEEK_BEGIN, _DEEPSEEK_END),
)
MISTRAL_V11 = ToolCallFormat("mistral_v11", "mistral", _scan_mistral, _write_mistral)
