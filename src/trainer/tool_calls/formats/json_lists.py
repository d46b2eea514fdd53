"""Formats that write all the calls of a turn as JSON lists, and Llama 3, which writes bare JSON objects.

The lists are those of xLAM, Mistral before v11, Granite 3 and Phi-4-mini.
"""

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, NamedTuple

from trainer.tool_calls.base import Region, Source, ToolCallFormat, attempt, is_mentioned, scan_marked
from trainer.tool_calls.readers import CallParts, Finder, call_parts
from trainer.types import Call, CallStatus, ParsedCall
from trainer.values.json_reader import read_json, skip_space, to_json


class _Marker(NamedTuple):
    """The markers that open and close a list. A `word` is prose unless a list of objects follows.

    `parts` checks an item of the list.
    """

    opening: str
    closing: str = ""
    word: bool = False
    parts: Callable[[Any], CallParts] = call_parts


_MISTRAL = (_Marker("[TOOL_CALLS]"),)
_GRANITE = (_Marker("<|tool_call|>"), _Marker("<tool_call>"))
_PHI = (_Marker("<|tool_call|>", closing="<|/tool_call|>"), _Marker("functools", word=True))
_LIST = re.compile(r"\s*+\[")
_LIST_OF_OBJECTS = re.compile(r"\s*+\[\s*+\{")

# Each match ends directly before the bracket or the marker that opens the JSON. All quantifiers are possessive
# (`*+`): backtracking over malicious white space would take quadratic time.
_CALL_KEY = r"""["'](?:name|id|type|function|parameters|arguments)["']\s*+:"""
_XLAM_AT_START = re.compile(rf"\s*+(?:```(?:json)?\s*+)?(?=\[\s*+\{{\s*+{_CALL_KEY})")
_XLAM_IN_PROSE = re.compile(r'(?=\[\s*+\{\s*+"name"\s*+:\s*+"[^"]*+"\s*+,\s*+"arguments"\s*+:\s*+\{)')
_PYTHON_TAG = "<|python_tag|>"
_LLAMA_AT_START = re.compile(rf"\s*+(?=\{{\s*+{_CALL_KEY})")
_LLAMA_IN_PROSE = re.compile(
    r'(?=\{\s*+(?:"type"\s*+:\s*+"function"\s*+,\s*+)?'
    r'"name"\s*+:\s*+"[^"]*+"\s*+,\s*+"(?:parameters|arguments)"\s*+:\s*+\{)|<\|python_tag\|>'
)
_LLAMA_NEXT = re.compile(r"\s*+;\s*+(?=\{)")
_FENCE = re.compile(r"\s*+```")
_SHAPE = {"arguments", "parameters", "function"}


class _ListRead(NamedTuple):
    """`is_shaped` is False if all items can be read and none of them has the keys of a call."""

    calls: tuple[ParsedCall, ...]
    end: int
    is_shaped: bool


def _read_list(
    text: str, start: int, limit: Callable[[int], int], parts_of: Callable[[Any], CallParts] = call_parts
) -> _ListRead:
    """Read call objects from the `[` at `start` on.

    An unreadable part is one attempt. `limit` receives where reading failed, and returns where the attempt ends.
    """
    calls: list[ParsedCall] = []
    is_shaped = False
    separator, position = start, skip_space(text, start + 1)
    while not text.startswith("]", position):
        read = read_json(text, position)
        after = skip_space(text, read.end)
        if read.failure is None and text[after : after + 1] in (",", "]"):
            calls.append(attempt(text, (position, read.end), **parts_of(read.value)._asdict()))
            is_shaped = is_shaped or _is_shaped(read.value)
            separator, position = after, skip_space(text, after + 1) if text[after] == "," else after
            continue
        # Either the item is broken, or the list is broken after it. A server's parser would not read it in either case.
        ends_early = read.failure == "unclosed" or after >= len(text)
        parts = CallParts("unclosed" if ends_early else "invalid_json")
        end = max(limit(max(read.end, position + 1)), read.end)
        begin = position if position < end else separator
        is_shaped = is_shaped or not calls
        calls.append(attempt(text, (begin, end), **parts._asdict()))
        return _ListRead(tuple(calls), end, is_shaped)
    return _ListRead(tuple(calls), position + 1, is_shaped)


def _is_shaped(value: Any) -> bool:
    """Return whether a value without a marker has the keys of a call, so that it is not an answer in JSON."""
    return isinstance(value, dict) and (not _SHAPE.isdisjoint(value) or value.keys() == {"name"})


def _scan_marked_lists(source: Source, markers: Sequence[_Marker]) -> Iterator[Region]:
    read = partial(_read_marked_list, markers=markers)
    return scan_marked(source, [marker.opening for marker in markers], read)


def _read_marked_list(source: Source, start: int, finder: Finder, *, markers: Sequence[_Marker]) -> Region | None:
    text = source.text
    marker = next(marker for marker in markers if text.startswith(marker.opening, start))
    body = start + len(marker.opening)
    if marker.word and not _LIST_OF_OBJECTS.match(text, body):
        return None
    limit = finder.first([other.opening for other in markers], body)
    if marker.closing:
        limit = min(limit, finder.find(marker.closing, body))
    if not _LIST.match(text, body):
        status: CallStatus = "unclosed" if limit == len(text) else "invalid_json"
        return Region(start, limit, (attempt(text, (start, limit), status=status),))
    calls, end, _ = _read_list(text, skip_space(text, body), lambda _: limit, marker.parts)
    if not calls:
        return Region(start, end, (attempt(text, (start, end), status="missing_name"),))
    close = skip_space(text, end) if marker.closing else end
    if text.startswith(marker.closing, close):
        return Region(start, close + len(marker.closing), calls)
    lost = replace(calls[-1], status="unclosed", name=None, arguments=None)
    return Region(start, end, (*calls[:-1], lost))


def _scan_xlam(source: Source) -> Iterator[Region]:
    text = source.text
    opening = _XLAM_AT_START.match(text, source.start) or _XLAM_IN_PROSE.search(text, source.start)
    while opening is not None:
        calls, end, is_shaped = _read_list(text, opening.end(), partial(_next_match, text, _XLAM_IN_PROSE))
        fence = _FENCE.match(text, end) if "`" in opening[0] else None
        end = fence.end() if fence else end
        if is_shaped:
            yield Region(opening.start(), end, calls, is_bare=True)
        opening = _XLAM_IN_PROSE.search(text, end)


def _scan_llama(source: Source) -> Iterator[Region]:
    text = source.text
    opening = _LLAMA_AT_START.match(text, source.start) or _LLAMA_IN_PROSE.search(text, source.start)
    while opening is not None:
        is_bare = opening[0] != _PYTHON_TAG
        body = skip_space(text, opening.end())
        region = _read_llama_object(text, body if is_bare else opening.start(), body, is_bare=is_bare)
        is_prose = not is_bare and is_mentioned(region, text, _PYTHON_TAG)
        if region.calls and not is_prose:
            yield region._replace(start=opening.start())  # with the separator before it
        opening = _LLAMA_NEXT.match(text, region.end) or _LLAMA_IN_PROSE.search(text, region.end)


def _read_llama_object(text: str, start: int, body: int, *, is_bare: bool) -> Region:
    read = read_json(text, body)
    if read.failure is None and isinstance(read.value, dict):
        parts = call_parts(read.value, ("parameters", "arguments"))
        call = attempt(text, (start, read.end), **parts._asdict())
        return Region(start, read.end, (call,) if not is_bare or _is_shaped(read.value) else (), is_bare)
    end = _next_match(text, _LLAMA_IN_PROSE, max(read.end, body + 1))
    is_cut = end == len(text) and (read.failure == "unclosed" or body >= end)
    status: CallStatus = "unclosed" if is_cut else "invalid_json"
    return Region(start, end, (attempt(text, (start, end), status=status),), is_bare)


def _next_match(text: str, pattern: re.Pattern[str], position: int) -> int:
    """Return where the next match of `pattern` begins, or the length of the text."""
    match = pattern.search(text, position)
    return match.start() if match else len(text)


def _write_list(calls: Sequence[Call], *, before: str = "", after: str = "") -> str:
    items = ", ".join(to_json({"name": call.name, "arguments": call.arguments}) for call in calls)
    return f"{before}[{items}]{after}"


def _write_mistral(calls: Sequence[Call]) -> str:
    items = [
        to_json({"name": call.name, "arguments": call.arguments, "id": f"call{index:05}"})
        for index, call in enumerate(calls)
    ]
    return f"[TOOL_CALLS][{', '.join(items)}]"


def _write_llama(calls: Sequence[Call]) -> str:
    return "; ".join(to_json({"name": call.name, "parameters": call.arguments}) for call in calls)


XLAM = ToolCallFormat("xlam", "xlam", _scan_xlam, _write_list)
MISTRAL = ToolCallFormat("mistral", "mistral", partial(_scan_marked_lists, markers=_MISTRAL), _write_mistral)
GRANITE = ToolCallFormat(
    "granite",
    "granite",
    partial(_scan_marked_lists, markers=_GRANITE),
    partial(_write_list, before="<|tool_call|>"),
)
PHI4_MINI = ToolCallFormat(
    "phi4_mini_json",
    "phi4_mini_json",
    partial(_scan_marked_lists, markers=_PHI),
    partial(_write_list, before="functools"),
)
LLAMA3 = ToolCallFormat("llama3_json", "llama3_json", _scan_llama, _write_llama)
