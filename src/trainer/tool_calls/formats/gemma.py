"""FunctionGemma and Gemma 4: `call:name{key:value,…}` between markers, with special string delimiters."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, NamedTuple

from trainer.tool_calls.base import Region, Source, ToolCallFormat, attempt, scan_marked
from trainer.tool_calls.readers import CallParts, Finder
from trainer.types import Call
from trainer.values.json_reader import MAX_DEPTH, to_json
from trainer.values.literals import LiteralError, read_number, read_word, skip_blank


class _Markers(NamedTuple):
    opening: str
    closing: str
    quote: str


_FUNCTION_GEMMA = _Markers("<start_function_call>", "<end_function_call>", "<escape>")
_GEMMA4 = _Markers("<|tool_call>", "<tool_call|>", '<|"|>')
_HEAD = re.compile(r"\s*+call:([^\s{}]*+)\s*+(?=\{)")
_BARE_KEY = re.compile(r"[^\s:,{}\[\]<](?:[^:,{}\[\]<\n]*+)")
_PLAIN_KEY = re.compile(r"[\w.\-]+")


class _Reader:
    """A recursive reader of the values in one text. `quote` delimits strings, which have no escapes."""

    def __init__(self, text: str, quote: str, finder: Finder) -> None:
        self._text = text
        self._quote = quote
        self._finder = finder

    def value(self, position: int, depth: int = 0) -> tuple[Any, int]:
        if self._text.startswith(self._quote, position):
            return self._string(position)
        if depth < MAX_DEPTH and self._text.startswith("{", position):
            return self.members(position, depth)
        if depth < MAX_DEPTH and self._text.startswith("[", position):
            return self._items(position, depth)
        return read_number(self._text, position) or read_word(self._text, position)

    def members(self, position: int, depth: int = 0) -> tuple[dict[str, Any], int]:
        values: dict[str, Any] = {}
        position = skip_blank(self._text, position + 1)
        while not self._text.startswith("}", position):
            key, position = self._key(position)
            values[key], position = self.value(skip_blank(self._text, position), depth + 1)
            position = self._next(position, "}")
        return values, position + 1

    def _items(self, position: int, depth: int) -> tuple[list[Any], int]:
        values: list[Any] = []
        position = skip_blank(self._text, position + 1)
        while not self._text.startswith("]", position):
            value, position = self.value(position, depth + 1)
            values.append(value)
            position = self._next(position, "]")
        return values, position + 1

    def _string(self, position: int) -> tuple[str, int]:
        begin = position + len(self._quote)
        end = self._finder.find(self._quote, begin)
        if end == len(self._text):
            raise LiteralError(begin, cut=True)
        return self._text[begin:end], end + len(self._quote)

    def _key(self, position: int) -> tuple[str, int]:
        if self._text.startswith(self._quote, position):
            key, position = self._string(position)
        elif match := _BARE_KEY.match(self._text, position):
            key, position = match[0].rstrip(), match.end()
        else:
            raise LiteralError(position, cut=position >= len(self._text))
        position = skip_blank(self._text, position)
        if not self._text.startswith(":", position):
            raise LiteralError(position, cut=position >= len(self._text))
        return key, position + 1

    def _next(self, position: int, closing: str) -> int:
        position = skip_blank(self._text, position)
        if self._text.startswith(",", position):
            return skip_blank(self._text, position + 1)
        if not self._text.startswith(closing, position):
            raise LiteralError(position, cut=position >= len(self._text))
        return position


def _scan(source: Source, markers: _Markers) -> Iterator[Region]:
    return scan_marked(source, (markers.opening,), partial(_read_block, markers=markers))


def _read_block(source: Source, start: int, finder: Finder, *, markers: _Markers) -> Region:
    text, body = source.text, start + len(markers.opening)
    head = _HEAD.match(text, body)
    if head is not None:
        try:
            arguments, position = _Reader(text, markers.quote, finder).members(head.end())
        except LiteralError:
            pass
        else:
            close = skip_blank(text, position)
            if text.startswith(markers.closing, close):
                span = (start, close + len(markers.closing))
                parts = CallParts("ok", head[1], arguments) if head[1] else CallParts("missing_name")
                return Region(*span, (attempt(text, span, **parts._asdict()),))
    close, next_open = finder.find(markers.closing, body), finder.find(markers.opening, body)
    if close >= next_open:
        return Region(start, next_open, (attempt(text, (start, next_open), status="unclosed"),))
    span = (start, close + len(markers.closing))
    if head is not None and head[1]:
        return Region(*span, (attempt(text, span, status="bad_arguments", name=head[1]),))
    return Region(*span, (attempt(text, span, status="missing_name"),))


def _write(calls: Sequence[Call], markers: _Markers) -> str:
    return "".join(
        f"{markers.opening}call:{call.name}{_to_text(call.arguments, markers.quote)}{markers.closing}" for call in calls
    )


def _to_text(value: Any, quote: str) -> str:
    if isinstance(value, str):
        return f"{quote}{value}{quote}"
    if isinstance(value, dict):
        members = (f"{_to_key(key, quote)}:{_to_text(inner, quote)}" for key, inner in value.items())
        return f"{{{','.join(members)}}}"
    if isinstance(value, list):
        return f"[{','.join(_to_text(inner, quote) for inner in value)}]"
    return to_json(value)


def _to_key(key: str, quote: str) -> str:
    return key if _PLAIN_KEY.fullmatch(key) else f"{quote}{key}{quote}"


def _format(name: str, markers: _Markers) -> ToolCallFormat:
    return ToolCallFormat(name, name, partial(_scan, markers=markers), partial(_write, markers=markers))


FUNCTION_GEMMA = _format("functiongemma", _FUNCTION_GEMMA)
# The marker of a result follows a call directly, in the same turn.
GEMMA4 = replace(_format("gemma4", _GEMMA4), wrappers=("<|tool_response>",))
