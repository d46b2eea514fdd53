"""Formats with one JSON object between markers per call, and the name in the object or before it.

InternLM, LongCat and Kimi K2.
"""

import re
from collections.abc import Iterator, Sequence
from functools import partial
from typing import NamedTuple

from trainer.tool_calls.base import Region, Source, ToolCallFormat, scan_marked
from trainer.tool_calls.formats.blocks import Block, one_attempt, scan_block
from trainer.tool_calls.readers import CallParts, Finder, call_parts, named_parts
from trainer.types import Call
from trainer.values.json_reader import read_json, skip_space, to_json


class _Objects(NamedTuple):
    """The markers around an object, and the key of its arguments. `head` is all that comes before the object."""

    opening: str
    head: re.Pattern[str]
    closing: str
    key: str
    before: str
    after: str


# All quantifiers are possessive (`*+`): backtracking over malicious white space would take quadratic time.
_INTERNLM = _Objects(
    opening="<|action_start|>",
    head=re.compile(r"<\|action_start\|>\s*+<\|plugin\|>"),
    closing="<|action_end|>",
    key="parameters",
    before="<|action_start|><|plugin|>\n",
    after="<|action_end|>",
)
_LONGCAT = _Objects(
    opening="<longcat_tool_call>",
    head=re.compile(r"<longcat_tool_call>"),
    closing="</longcat_tool_call>",
    key="arguments",
    before="<longcat_tool_call>\n",
    after="\n</longcat_tool_call>",
)
_KIMI_BLOCK = Block(("<|tool_calls_section_begin|>",), "<|tool_calls_section_end|>")
_KIMI_OPEN, _KIMI_CLOSE = "<|tool_call_begin|>", "<|tool_call_end|>"
_KIMI_ARGUMENTS = "<|tool_call_argument_begin|>"
# The id of a call has the name of its tool: `functions.f:0`.
_KIMI_HEAD = re.compile(
    r"<\|tool_call_begin\|>\s*+(?:functions\.)?+([^\s:<{]*+):\d++\s*+<\|tool_call_argument_begin\|>"
)


def _scan(source: Source, grammar: _Objects) -> Iterator[Region]:
    return scan_marked(source, (grammar.opening,), partial(_read_object, grammar=grammar))


def _read_object(source: Source, start: int, finder: Finder, *, grammar: _Objects) -> Region:
    text = source.text
    head = grammar.head.match(text, start)
    if head is not None:
        # Read the JSON before searching for the closing marker, because a string in it may contain the marker.
        read = read_json(text, head.end())
        close = skip_space(text, read.end)
        if read.failure is None and text.startswith(grammar.closing, close):
            parts = call_parts(read.value, (grammar.key, "parameters", "arguments"))
            return one_attempt(text, (start, close + len(grammar.closing)), parts)
    broken = CallParts("invalid_json")
    return _broken(text, start, finder, opening=grammar.opening, closing=grammar.closing, parts=broken)


def _broken(text: str, start: int, finder: Finder, *, opening: str, closing: str, parts: CallParts) -> Region:
    """Return an unreadable attempt: `parts` with its closing marker, else unclosed up to the next attempt."""
    body = start + len(opening)
    close, next_open = finder.find(closing, body), finder.find(opening, body)
    if close < next_open:
        return one_attempt(text, (start, close + len(closing)), parts)
    return one_attempt(text, (start, next_open), CallParts("unclosed"))


def _write(calls: Sequence[Call], grammar: _Objects) -> str:
    bodies = [to_json({"name": call.name, grammar.key: call.arguments}) for call in calls]
    return "\n".join(f"{grammar.before}{body}{grammar.after}" for body in bodies)


def _scan_kimi(source: Source) -> Iterator[Region]:
    return scan_block(source, _KIMI_BLOCK, (_KIMI_OPEN,), _read_kimi)


def _read_kimi(source: Source, start: int, finder: Finder) -> Region:
    text = source.text
    head = _KIMI_HEAD.match(text, start)
    if head is not None:
        read = read_json(text, head.end())
        close = skip_space(text, read.end)
        if read.failure is None and text.startswith(_KIMI_CLOSE, close):
            return one_attempt(text, (start, close + len(_KIMI_CLOSE)), named_parts(head[1], read.value))
    parts = named_parts(head[1] if head is not None else "", None)
    return _broken(text, start, finder, opening=_KIMI_OPEN, closing=_KIMI_CLOSE, parts=parts)


def _write_kimi(calls: Sequence[Call]) -> str:
    written = "".join(
        f"{_KIMI_OPEN}functions.{call.name}:{index}{_KIMI_ARGUMENTS}{to_json(call.arguments)}{_KIMI_CLOSE}"
        for index, call in enumerate(calls)
    )
    return f"{_KIMI_BLOCK.openings[0]}{written}{_KIMI_BLOCK.closing}"


INTERNLM = ToolCallFormat("internlm", "internlm", partial(_scan, grammar=_INTERNLM), partial(_write, grammar=_INTERNLM))
LONGCAT = ToolCallFormat("longcat", "longcat", partial(_scan, grammar=_LONGCAT), partial(_write, grammar=_LONGCAT))
KIMI_K2 = ToolCallFormat("kimi_k2", "kimi_k2", _scan_kimi, _write_kimi, wrappers=_KIMI_BLOCK.markers)
