"""Formats that write each argument between tags, without its type: Qwen3-Coder and Qwen3.5, GLM 4.5, Muse Glimmer.

The tool's schema gives the type of a value. Without a schema, text that looks like JSON is read as JSON.
"""

import re
from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any, NamedTuple

from trainer.tool_calls.base import Region, Source, ToolCallFormat, attempt, scan_marked
from trainer.tool_calls.readers import CallParts, Finder, named_parts
from trainer.tools.schema import ANYTHING, SchemaNode
from trainer.types import Call
from trainer.values.json_reader import read_json, to_json
from trainer.values.literals import read_literal, skip_blank

_CONSTANTS = {"True": True, "False": False, "None": None}


class _Tags(NamedTuple):
    """The grammar of one format.

    `head` captures the name of the tool, `parameter` that of an argument. `value_close` matches the closing tag of
    a value only if the call continues or ends after it; otherwise the tag is part of the value. `tail` must follow
    the closing tag of a call that `opening[0]` began. `padded` values are on separate lines.
    """

    opening: tuple[str, ...]
    head: re.Pattern[str]
    parameter: re.Pattern[str]
    value_close: re.Pattern[str]
    call_close: str
    tail: str = ""
    padded: bool = False


# Possessive quantifiers (`*+`): backtracking over malicious white space would take quadratic time.
_QWEN = _Tags(
    opening=("<tool_call>", "<function="),
    head=re.compile(r"(?:<tool_call>\s*+)?<function=([^>\n]*+)>"),
    parameter=re.compile(r"<parameter=([^>\n]*+)>"),
    value_close=re.compile(r"</parameter>(?=\s*+(?:<parameter=|</function>))"),
    call_close="</function>",
    tail="</tool_call>",
    padded=True,
)
_GLM = _Tags(
    opening=("<tool_call>",),
    head=re.compile(r"<tool_call>\s*+([^\s<{\[]++)"),
    parameter=re.compile(r"<arg_key>([^<\n]*+)</arg_key>\s*+<arg_value>"),
    value_close=re.compile(r"</arg_value>(?=\s*+(?:<arg_key>|</tool_call>))"),
    call_close="</tool_call>",
)
_MUSE = _Tags(
    opening=("<atem:invoke",),
    head=re.compile(r'<atem:invoke\s++name="([^"\n]*+)"\s*+>'),
    parameter=re.compile(r'<atem:parameter\s++name="([^"\n]*+)"\s*+>'),
    value_close=re.compile(r"</atem:parameter>(?=\s*+(?:<atem:parameter|</atem:invoke>))"),
    call_close="</atem:invoke>",
)


def _scan(source: Source, tags: _Tags) -> Iterator[Region]:
    return scan_marked(source, tags.opening, partial(_read_call, tags=tags))


def _read_call(source: Source, start: int, finder: Finder, *, tags: _Tags) -> Region:
    text = source.text
    is_wrapped = bool(tags.tail) and text.startswith(tags.opening[0], start)
    head = tags.head.match(text, start)
    name = head[1].strip() if head else ""
    body = head.end() if head else start + 1
    if head is not None and (read := _read_values(text, body, tags, finder)) is not None:
        end = _past(tags.tail, text, read.end) if is_wrapped else read.end
        if end is not None:
            node = source.nodes.get(name, ANYTHING)
            arguments = {key: _to_value(value, node.property(key)) for key, value in read.values.items()}
            return _region(text, (start, end), named_parts(name, arguments))
    closing = tags.tail if is_wrapped else tags.call_close
    close = finder.find(closing, body)
    next_open = finder.first(tags.opening[:1] if is_wrapped else tags.opening, body)
    if close < next_open:
        return _region(text, (start, close + len(closing)), named_parts(name, None))
    return _region(text, (start, next_open), CallParts("unclosed"))


class _ValuesRead(NamedTuple):
    values: dict[str, str]
    end: int


def _read_values(text: str, position: int, tags: _Tags, finder: Finder) -> _ValuesRead | None:
    """Return the raw values by name and the end of the call's closing tag, or None if the text is broken.

    An argument that is written twice is broken, and so is one that contains another one.
    """
    values: dict[str, str] = {}
    position = skip_blank(text, position)
    while not text.startswith(tags.call_close, position):
        opening = tags.parameter.match(text, position)
        if opening is None:
            return None
        closing = finder.search(tags.value_close, opening.end())
        if closing is None or closing.start() > finder.find(tags.call_close, opening.end()):
            return None
        # A value with an opening tag has swallowed the next argument, because its own closing tag is missing.
        # It is found before the value is copied: values inside values would take quadratic time.
        swallowed = finder.search(tags.parameter, opening.end())
        key = opening[1].strip()
        if key in values or (swallowed is not None and swallowed.end() <= closing.start()):
            return None
        value = text[opening.end() : closing.start()]
        values[key] = _unpad(value) if tags.padded else value
        position = skip_blank(text, closing.end())
    return _ValuesRead(values, position + len(tags.call_close))


def _past(tag: str, text: str, position: int) -> int | None:
    """Return the end of `tag` if it comes next, after optional space, else None."""
    position = skip_blank(text, position)
    return position + len(tag) if text.startswith(tag, position) else None


def _region(text: str, span: tuple[int, int], parts: CallParts) -> Region:
    return Region(*span, (attempt(text, span, **parts._asdict()),))


def _unpad(value: str) -> str:
    return value.removeprefix("\n").removesuffix("\n")


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


def _write_qwen(calls: Sequence[Call]) -> str:
    return "\n".join(
        f"<tool_call>\n<function={call.name}>\n"
        + "".join(f"<parameter={key}>\n{_to_text(value)}\n</parameter>\n" for key, value in call.arguments.items())
        + "</function>\n</tool_call>"
        for call in calls
    )


def _write_glm(calls: Sequence[Call]) -> str:
    return "\n".join(
        f"<tool_call>{call.name}\n"
        + "".join(
            f"<arg_key>{key}</arg_key>\n<arg_value>{_to_text(value)}</arg_value>\n"
            for key, value in call.arguments.items()
        )
        + "</tool_call>"
        for call in calls
    )


def _write_muse(calls: Sequence[Call]) -> str:
    invocations = "\n".join(
        f'<atem:invoke name="{call.name}">\n'
        + "".join(
            f'<atem:parameter name="{key}">{_to_text(value)}</atem:parameter>\n'
            for key, value in call.arguments.items()
        )
        + "</atem:invoke>"
        for call in calls
    )
    return f"<atem:function_calls>\n{invocations}\n</atem:function_calls>"


def _to_text(value: Any) -> str:
    return value if isinstance(value, str) else to_json(value)


QWEN3_XML = ToolCallFormat("qwen3_xml", "qwen3_xml", partial(_scan, tags=_QWEN), _write_qwen, needs_schema=True)
GLM45 = ToolCallFormat("glm45", "glm45", partial(_scan, tags=_GLM), _write_glm, needs_schema=True)
MUSE_GLIMMER = ToolCallFormat(
    "muse_glimmer",
    "muse_glimmer",
    partial(_scan, tags=_MUSE),
    _write_muse,
    wrappers=("<atem:function_calls>", "</atem:function_calls>"),
    needs_schema=True,
    header=re.compile(r"(?:<\|eom\|><\|start\|>assistant)?(?:(?<!\s)\s*+\bto=)?(?<![\w.\-])[\w.\-]*+<\|message\|>"),
)
