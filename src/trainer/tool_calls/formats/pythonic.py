"""Calls as a Python list of function calls: Llama 4, Llama 3.2, Gemma 3, and LFM2 with its own markers."""

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, NamedTuple

from trainer.tool_calls.base import Region, Source, ToolCallFormat, attempt, is_mentioned, scan_marked
from trainer.tool_calls.readers import CallParts, Finder
from trainer.types import Call, CallStatus, ParsedCall
from trainer.values.json_reader import to_json
from trainer.values.literals import read_literal, skip_blank

_LFM2_OPEN, _LFM2_CLOSE = "<|tool_call_start|>", "<|tool_call_end|>"
_PYTHON_START, _PYTHON_END = "<|python_start|>", "<|python_end|>"
_NAME = re.compile(r"([^\W\d][\w.\-]*+)\s*+\(")
_KEYWORD = re.compile(r"([\w.\-]++)\s*+=")
# A list of calls begins a line. Prose may also have such brackets, `[see(this)](…)`, but not with keyword arguments
# on a separate line.
_LIST = r"(?=\[\s*+[^\W\d][\w.\-]*+\s*+\()"
_AT_START = re.compile(rf"\s*+{_LIST}")
_OPENING = re.compile(rf"<\|python_start\|>|^[ \t]*+{_LIST}", re.MULTILINE)
_LINE_END = re.compile(r"[ \t]*+(?:<\|python_end\|>[ \t]*+)?(?:\n|\Z)")


class _ListRead(NamedTuple):
    calls: tuple[ParsedCall, ...]
    end: int
    whole: bool


def _read_calls(text: str, start: int, limit: Callable[[int], int]) -> _ListRead:
    """Read calls from the `[` at `start` on.

    An unreadable part is one attempt. `limit` receives where reading failed, and returns where the attempt ends.
    """
    calls: list[ParsedCall] = []
    separator, position = start, skip_blank(text, start + 1)
    while not text.startswith("]", position):
        parts, end = _read_call(text, position)
        after = skip_blank(text, end)
        if parts.status == "ok" and text[after : after + 1] in (",", "]"):
            calls.append(attempt(text, (position, end), **parts._asdict()))
            separator, position = after, skip_blank(text, after + 1) if text[after] == "," else after
            continue
        end = max(limit(max(end, position + 1)), end)
        if parts.status == "ok":
            parts = CallParts("unclosed" if after >= len(text) else "invalid_json")
        begin = position if position < end else separator
        calls.append(attempt(text, (begin, end), **parts._asdict()))
        return _ListRead(tuple(calls), end, whole=False)
    return _ListRead(tuple(calls), position + 1, whole=True)


def _read_call(text: str, start: int) -> tuple[CallParts, int]:
    head = _NAME.match(text, start)
    if head is None:
        return CallParts("unclosed" if start >= len(text) else "missing_name"), start
    arguments: dict[str, Any] = {}
    position = skip_blank(text, head.end())
    while not text.startswith(")", position):
        keyword = _KEYWORD.match(text, position)
        if keyword is None:
            return _broken(head[1], text, position)
        value = read_literal(text, keyword.end())
        position = skip_blank(text, value.end)
        if value.failure is not None:
            return _broken(head[1], text, position, cut=value.failure == "unclosed")
        arguments[keyword[1]] = value.value
        if text.startswith(",", position):
            position = skip_blank(text, position + 1)
        elif not text.startswith(")", position):
            return _broken(head[1], text, position)
    return CallParts("ok", head[1], arguments), position + 1


def _broken(name: str, text: str, position: int, *, cut: bool = False) -> tuple[CallParts, int]:
    if cut or position >= len(text):
        return CallParts("unclosed"), position
    return CallParts("bad_arguments", name), position


def _scan_bare(source: Source) -> Iterator[Region]:
    text = source.text
    opening = _AT_START.match(text, source.start) or _OPENING.search(text, source.start)
    while opening is not None:
        is_marked = opening[0] == _PYTHON_START
        region = _read_python_block(text, opening.start()) if is_marked else _read_bare(text, opening)
        is_prose = is_marked and is_mentioned(region, text, _PYTHON_START)
        if region.calls and not is_prose:
            yield region
        opening = _OPENING.search(text, region.end)


def _read_bare(text: str, opening: re.Match[str]) -> Region:
    """Read a list without a marker. At the very start it may be broken; elsewhere, only a whole line of it counts."""
    is_start = opening.re is _AT_START
    read = _read_calls(text, opening.end(), partial(_next_opening, text) if is_start else lambda position: position)
    is_line = read.whole and _LINE_END.match(text, read.end) and any(call.arguments for call in read.calls)
    return Region(opening.start(), read.end, read.calls if is_start or is_line else (), is_bare=True)


def _read_python_block(text: str, start: int) -> Region:
    """Read the list after `<|python_start|>`. Its end marker may be missing."""
    begin = skip_blank(text, start + len(_PYTHON_START))
    if text.startswith("[", begin):
        read = _read_calls(text, begin, partial(_block_end, text))
        if read.calls:
            return Region(start, read.end, read.calls)
    end = _block_end(text, begin)
    status: CallStatus = "missing_name" if text.startswith(_PYTHON_END, end) else "unclosed"
    return Region(start, end, (attempt(text, (start, end), status=status),))


def _block_end(text: str, position: int) -> int:
    end = _next_opening(text, position)
    close = text.find(_PYTHON_END, position, end)
    return end if close < 0 else close


def _next_opening(text: str, position: int) -> int:
    following = _OPENING.search(text, position)
    return following.start() if following else len(text)


def _scan_marked(source: Source) -> Iterator[Region]:
    return scan_marked(source, (_LFM2_OPEN,), _read_block)


def _read_block(source: Source, start: int, finder: Finder) -> Region:
    text, body = source.text, start + len(_LFM2_OPEN)
    close, next_open = finder.find(_LFM2_CLOSE, body), finder.find(_LFM2_OPEN, body)
    is_closed = close < next_open
    end = close + len(_LFM2_CLOSE) if is_closed else next_open
    begin = skip_blank(text, body)
    if not text.startswith("[", begin):
        status: CallStatus = "missing_name" if is_closed else "unclosed"
        return Region(start, end, (attempt(text, (start, end), status=status),))
    read = _read_calls(text, begin, lambda _: min(close, next_open))
    after = skip_blank(text, read.end)
    if read.whole and read.calls and text.startswith(_LFM2_CLOSE, after):
        return Region(start, after + len(_LFM2_CLOSE), read.calls)
    # The list is broken, or the block continues after it, so its last call cannot be trusted.
    last = read.calls[-1] if read.calls else attempt(text, (start, end), status="missing_name")
    if not is_closed:
        last = replace(last, status="unclosed", name=None, arguments=None)
    elif last.status in ("ok", "unclosed"):
        last = replace(last, status="invalid_json", name=None, arguments=None)
    return Region(start, max(end, last.end), (*read.calls[:-1], last))


def _write(calls: Sequence[Call], *, before: str = "", after: str = "") -> str:
    return f"{before}[{', '.join(map(_write_call, calls))}]{after}"


def _write_call(call: Call) -> str:
    return f"{call.name}({', '.join(f'{key}={_to_literal(value)}' for key, value in call.arguments.items())})"


def _to_literal(value: Any) -> str:
    if isinstance(value, list):
        return f"[{', '.join(map(_to_literal, value))}]"
    if isinstance(value, dict):
        return f"{{{', '.join(f'{to_json(key)}: {_to_literal(inner)}' for key, inner in value.items())}}}"
    if isinstance(value, bool) or value is None:
        return repr(value)
    return to_json(value)


PYTHONIC = ToolCallFormat("pythonic", "pythonic", _scan_bare, _write, wrappers=(_PYTHON_START, _PYTHON_END))
LFM2 = ToolCallFormat("lfm2", "lfm2", _scan_marked, partial(_write, before=_LFM2_OPEN, after=_LFM2_CLOSE))
