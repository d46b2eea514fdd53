"""Read and write calls with an element per argument. Defines no particular format.

The elements may mark which values are strings. If they do not, the tool's schema gives the type of a value, and without
a schema, text that looks like JSON is read as JSON.
"""

import re
from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any, NamedTuple

from trainer.tool_calls.base import Region, Source
from trainer.tool_calls.formats.blocks import Block, one_attempt, scan_block
from trainer.tool_calls.readers import CallParts, Finder, named_parts
from trainer.tools.schema import ANYTHING, SchemaNode
from trainer.types import Call
from trainer.values.json_reader import read_json, skip_space, to_json
from trainer.values.literals import read_literal, skip_blank

_CONSTANTS = {"True": True, "False": False, "None": None}


class Elements(NamedTuple):
    """The grammar of one format, and how it is written.

    `head` captures the name of the tool, `parameter` that of an argument and, in DSML, whether it is a string.
    `opening[0]` begins a call that ends with `tail`; the other openings begin a call without it. `inside` are the tags
    that occur in calls only: outside, they show a call that lost its opening tag.
    `before`, `each` and `after` are the texts of a call, with the fields `name`, `key`, `value` and `is_string`.
    Readers remove a line break at each end of a `padded` value; `each` may write these line breaks.
    """

    opening: tuple[str, ...]
    inside: tuple[str, ...]
    head: re.Pattern[str]
    parameter: re.Pattern[str]
    value_close: str
    call_close: str
    before: str
    each: str
    after: str
    tail: str = ""
    block: Block = Block()
    padded: bool = False


def scan_elements(source: Source, grammar: Elements) -> Iterator[Region]:
    """Yield the attempted calls of a text."""
    return scan_block(source, grammar.block, (*grammar.opening, *grammar.inside), partial(_read_call, grammar=grammar))


def _read_call(source: Source, start: int, finder: Finder, *, grammar: Elements) -> Region:
    text = source.text
    is_wrapped = bool(grammar.tail) and text.startswith(grammar.opening[0], start)
    head = grammar.head.match(text, start)
    name = (head[1] or head[2] or "").strip() if head else ""
    body = head.end() if head else start + 1
    if head is not None and (read := _read_values(source, name, body, grammar, finder)) is not None:
        end = _past(grammar.tail, text, read.end) if is_wrapped else read.end
        if end is not None:
            return one_attempt(text, (start, end), named_parts(name, read.values))
    closing = grammar.tail if is_wrapped else grammar.call_close
    close = finder.find(closing, body)
    next_open = finder.first(grammar.opening[:1] if is_wrapped else grammar.opening, body)
    if close < next_open:
        return one_attempt(text, (start, close + len(closing)), named_parts(name, None))
    return one_attempt(text, (start, next_open), CallParts("unclosed"))


class _ValuesRead(NamedTuple):
    values: dict[str, Any]
    end: int


def _read_values(source: Source, tool: str, position: int, grammar: Elements, finder: Finder) -> _ValuesRead | None:
    """Return the arguments and the end of the call's closing tag, or None if an element is broken or repeated."""
    text, node = source.text, source.nodes.get(tool, ANYTHING)
    values: dict[str, Any] = {}
    position = skip_blank(text, position)
    while not text.startswith(grammar.call_close, position):
        opening = grammar.parameter.match(text, position)
        if opening is None:
            return None
        close = finder.find(grammar.value_close, opening.end())
        if close >= finder.find(grammar.call_close, opening.end()):
            return None
        # A value with an opening tag has swallowed the next argument, because its own closing tag is missing.
        # It is found before the value is copied: values inside values would take quadratic time.
        swallowed = finder.search(grammar.parameter, opening.end())
        if swallowed is not None and swallowed.end() <= close:
            return None
        key = (opening[1] or opening[2] or "").strip()
        value = _value(text[opening.end() : close], opening[3], node.property(key), padded=grammar.padded)
        if value is None or key in values:
            return None
        values[key] = value.value
        position = skip_blank(text, close + len(grammar.value_close))
    return _ValuesRead(values, position + len(grammar.call_close))


class _Value(NamedTuple):
    value: Any


def _value(raw: str, is_string: str | None, node: SchemaNode, *, padded: bool) -> _Value | None:
    """Return the value of an element, or None if it is marked as JSON and is not JSON."""
    if is_string == "true":
        return _Value(raw)
    if is_string == "false":
        read = read_json(raw, 0)
        is_json = read.failure is None and skip_space(raw, read.end) == len(raw)
        return _Value(read.value) if is_json else None
    return _Value(_to_value(raw.removeprefix("\n").removesuffix("\n") if padded else raw, node))


def _to_value(text: str, node: SchemaNode) -> Any:
    """Return the value that `text` means, given its part of the tool's schema."""
    types = node.types
    if "string" in types and types <= {"string", "null"}:
        return None if "null" in types and text in ("null", "None") else text
    stripped = text.strip()
    if stripped in _CONSTANTS:
        return _CONSTANTS[stripped]
    for read in (read_json, read_literal):
        value = read(stripped, 0)
        if value.failure is None and value.end == len(stripped):
            return value.value
        if not types & {"object", "array"}:
            break
    return text


def _past(tag: str, text: str, position: int) -> int | None:
    """Return the end of `tag` if it comes next, after optional space, else None."""
    position = skip_blank(text, position)
    return position + len(tag) if text.startswith(tag, position) else None


def write_elements(calls: Sequence[Call], grammar: Elements, *, between: str = "\n", around: str = "\n") -> str:
    """Return the calls as text, with `between` between two calls and `around` inside the block."""
    text = between.join(_write_call(call, grammar) for call in calls)
    if not grammar.block.openings:
        return text
    return f"{grammar.block.openings[0]}{around}{text}{around}{grammar.block.closing}"


def _write_call(call: Call, grammar: Elements) -> str:
    written = _padded if grammar.padded and "\n{value}\n" not in grammar.each else _to_text
    arguments = (
        grammar.each.format(key=key, value=written(value), is_string=str(isinstance(value, str)).lower())
        for key, value in call.arguments.items()
    )
    return grammar.before.format(name=call.name) + "".join(arguments) + grammar.after


def _to_text(value: Any) -> str:
    return value if isinstance(value, str) else to_json(value)


def _padded(value: Any) -> str:
    """Return the text of a value, with line breaks that readers remove if it has line breaks at its ends."""
    text = _to_text(value)
    return f"\n{text}\n" if text.startswith("\n") or text.endswith("\n") else text
