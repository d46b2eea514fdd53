"""Formats that write each argument as an element with its name as an attribute.

MiniMax M2, dots, DeepSeek V3.2 and later (DSML), Seed-OSS and Step 3. DSML marks which values are strings. In the
others, the tool's schema gives the type of a value, and without a schema, text that looks like JSON is read as JSON.
"""

import re
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any, NamedTuple

from trainer.tool_calls.base import Region, Source, ToolCallFormat
from trainer.tool_calls.formats.blocks import Block, one_attempt, scan_block
from trainer.tool_calls.formats.tagged import _past, _to_text, _to_value, _unpad
from trainer.tool_calls.readers import CallParts, Finder, named_parts
from trainer.tools.schema import ANYTHING, SchemaNode
from trainer.types import Call
from trainer.values.json_reader import read_json, skip_space
from trainer.values.literals import skip_blank


class _Elements(NamedTuple):
    """The grammar of one format, and how it is written.

    `head` captures the name of the tool, `parameter` that of an argument and, in DSML, whether it is a string.
    `opening[0]` begins a call that ends with `tail`; the other openings begin a call without it.
    `before`, `each` and `after` are the texts of a call, with the fields `name`, `key`, `value` and `is_string`.
    """

    opening: tuple[str, ...]
    head: re.Pattern[str]
    parameter: re.Pattern[str]
    value_close: re.Pattern[str]
    call_close: str
    before: str
    each: str
    after: str
    tail: str = ""
    block: Block = Block()
    padded: bool = False


# Possessive quantifiers (`*+`): backtracking over malicious white space would take quadratic time.
_NAME = r"""(?:"([^"\n]*+)"|'([^'\n]*+)')"""


def _invoke(block: Block, *, mark: str = "", typed: bool = False) -> _Elements:
    """Return the grammar of `<invoke name="f"><parameter name="a">…`. `mark` is in front of the element names."""
    kind = r'(?:\s++string="(true|false)")?+' if typed else "()"
    is_string = ' string="{is_string}"' if typed else ""
    return _Elements(
        opening=(f"<{mark}invoke ",),
        head=re.compile(rf"<{mark}invoke\s*+name={_NAME}\s*+>"),
        parameter=re.compile(rf"<{mark}parameter\s++name={_NAME}{kind}\s*+>"),
        value_close=re.compile(rf"</{mark}parameter>(?=\s*+(?:<{mark}parameter\s|</{mark}invoke>))"),
        call_close=f"</{mark}invoke>",
        before=f'<{mark}invoke name="{{name}}">\n',
        each=f'<{mark}parameter name="{{key}}"{is_string}>{{value}}</{mark}parameter>\n',
        after=f"</{mark}invoke>",
        block=block,
    )


_MINIMAX = _invoke(Block(("<minimax:tool_call>",), "</minimax:tool_call>"))
_DOTS = _invoke(Block(("<dots_function_call>",), "</dots_function_call>"))
_V32 = _invoke(Block(("<｜DSML｜function_calls>",), "</｜DSML｜function_calls>"), mark="｜DSML｜", typed=True)
_V4_OPENINGS = ("<｜DSML｜tool_calls>", "<｜DSML｜toolcalls>", "<｜DSML｜tool>")
_V4 = _invoke(Block(_V4_OPENINGS, "</｜DSML｜tool_calls>"), mark="｜DSML｜", typed=True)
_V41 = _invoke(Block(("<｜DSML｜ calls>",), "</｜DSML｜ calls>"), mark="｜DSML｜ ", typed=True)
_SEED = _Elements(
    opening=("<seed:tool_call>", "<function="),
    head=re.compile(r"(?:<seed:tool_call>\s*+)?<function=([^>\n]*+)()>"),
    parameter=re.compile(r"<parameter=([^>\n]*+)()()>"),
    value_close=re.compile(r"</parameter>(?=\s*+(?:<parameter=|</function>))"),
    call_close="</function>",
    before="<seed:tool_call>\n<function={name}>\n",
    each="<parameter={key}>{value}</parameter>\n",
    after="</function>\n</seed:tool_call>",
    tail="</seed:tool_call>",
    padded=True,
)
_STEP3 = _Elements(
    opening=("<｜tool_call_begin｜>",),
    head=re.compile(rf"<｜tool_call_begin｜>\s*+function\s*+<｜tool_sep｜>\s*+<steptml:invoke\s++name={_NAME}\s*+>"),
    parameter=re.compile(rf"<steptml:parameter\s++name={_NAME}()\s*+>"),
    value_close=re.compile(r"</steptml:parameter>(?=\s*+(?:<steptml:parameter\s|</steptml:invoke>))"),
    call_close="</steptml:invoke>",
    before='<｜tool_call_begin｜>function<｜tool_sep｜><steptml:invoke name="{name}">',
    each='<steptml:parameter name="{key}">{value}</steptml:parameter>',
    after="</steptml:invoke><｜tool_call_end｜>",
    tail="<｜tool_call_end｜>",
    block=Block(("<｜tool_calls_begin｜>",), "<｜tool_calls_end｜>"),
)


def _scan(source: Source, grammar: _Elements) -> Iterator[Region]:
    return scan_block(source, grammar.block, grammar.opening, partial(_read_call, grammar=grammar))


def _read_call(source: Source, start: int, finder: Finder, *, grammar: _Elements) -> Region:
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


def _read_values(source: Source, tool: str, position: int, grammar: _Elements, finder: Finder) -> _ValuesRead | None:
    """Return the arguments and the end of the call's closing tag, or None if an element is broken or repeated."""
    text, node = source.text, source.nodes.get(tool, ANYTHING)
    values: dict[str, Any] = {}
    position = skip_blank(text, position)
    while not text.startswith(grammar.call_close, position):
        opening = grammar.parameter.match(text, position)
        if opening is None:
            return None
        closing = finder.search(grammar.value_close, opening.end())
        if closing is None or closing.start() > finder.find(grammar.call_close, opening.end()):
            return None
        raw = text[opening.end() : closing.start()]
        key = (opening[1] or opening[2] or "").strip()
        value = _value(raw, opening[3], node.property(key), padded=grammar.padded)
        # A value with an opening tag has swallowed the next argument, because its own closing tag is missing.
        if value is None or key in values or grammar.parameter.search(raw):
            return None
        values[key] = value.value
        position = skip_blank(text, closing.end())
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
    return _Value(_to_value(_unpad(raw) if padded else raw, node))


def _write(calls: Sequence[Call], grammar: _Elements, *, between: str = "\n", around: str = "\n") -> str:
    """Return the calls as text, with `between` between two calls and `around` inside the block."""
    text = between.join(_write_call(call, grammar) for call in calls)
    if not grammar.block.openings:
        return text
    return f"{grammar.block.openings[0]}{around}{text}{around}{grammar.block.closing}"


def _write_call(call: Call, grammar: _Elements) -> str:
    written = _padded if grammar.padded else _to_text
    arguments = (
        grammar.each.format(key=key, value=written(value), is_string=str(isinstance(value, str)).lower())
        for key, value in call.arguments.items()
    )
    return grammar.before.format(name=call.name) + "".join(arguments) + grammar.after


def _padded(value: Any) -> str:
    """Return the text of a value, with line breaks that readers remove if it has line breaks at its ends."""
    text = _to_text(value)
    return f"\n{text}\n" if text.startswith("\n") or text.endswith("\n") else text


def _format(name: str, grammar: _Elements, write: Callable[[Sequence[Call]], str] | None = None) -> ToolCallFormat:
    return ToolCallFormat(
        name,
        name,
        partial(_scan, grammar=grammar),
        write or partial(_write, grammar=grammar),
        wrappers=grammar.block.markers,
        needs_schema="is_string" not in grammar.each,
    )


MINIMAX_M2 = _format("minimax_m2", _MINIMAX)
DOTS = _format("dots", _DOTS)
DEEPSEEK_V32 = _format("deepseek_v32", _V32)
DEEPSEEK_V4 = _format("deepseek_v4", _V4)
DEEPSEEK_V41 = _format("deepseek_v41", _V41)
SEED_OSS = _format("seed_oss", _SEED)
STEP3 = _format("step3", _STEP3, partial(_write, grammar=_STEP3, between="", around=""))
