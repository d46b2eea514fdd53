"""The law of every format: what it writes, it reads back."""

import string
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trainer.tool_calls import ToolCallFormat, formats, get_format
from trainer.tools.equality import equal
from trainer.types import Call, Tool

MARKERS = (
    "<tool_call>", "</tool_call>", "<function=f>", "</function>", "<parameter=a>", "</parameter>", "<|python_tag|>",
    "[TOOL_CALLS]", "[ARGS]", "functools[", "<|tool_call|>", "<|/tool_call|>", "<start_function_call>", "<escape>",
    "<end_function_call>", "<|tool_call>", "<tool_call|>", '<|"|>', "<｜tool▁call▁begin｜>", "<｜tool▁sep｜>",
    "<｜tool▁call▁end｜>", "<｜tool▁calls▁end｜>", "<|channel|>", "<|message|>", "<|call|>", "<|end|>", "<|start|>",
    "<arg_key>", "</arg_value>", "<arg_value>", "<|tool_call_start|>", "<|tool_call_end|>", "<think>", "</think>",
    "<atem:invoke name=\"f\">", "</atem:invoke>", "</atem:parameter>", "<|python_start|>", "<|python_end|>",
    '{"name": "f", "arguments": {}}', "call:f{a:1}", "f(a=1)", "```", '"', "'", "\\", "\n", ";", "to=functions.f",
)  # fmt: skip

# What a format cannot carry inside a string, as docs/tool-call-formats.md lists it.
INEXPRESSIBLE = {
    "qwen3_xml": ("</function>", "</parameter>"),
    "glm45": ("</tool_call>", "</arg_value>"),
    "muse_glimmer": ("</atem:invoke>", "</atem:parameter>"),
    "functiongemma": ("<escape>",),
    "gemma4": ('<|"|>',),
}

names = st.text(string.ascii_letters + string.digits + "_-", min_size=1, max_size=12).filter(
    lambda name: name[0] in string.ascii_letters
)


def texts(fmt: ToolCallFormat) -> st.SearchStrategy[str]:
    """Any text, often with markers of this or another format in it, except what the format cannot carry."""
    refused = INEXPRESSIBLE.get(fmt.name, ())
    fragments = st.lists(st.sampled_from(MARKERS) | st.text(max_size=6), max_size=4).map("".join)
    return (st.text(max_size=12) | fragments).filter(lambda text: not any(mark in text for mark in refused))


def values(fmt: ToolCallFormat) -> st.SearchStrategy[Any]:
    """Any JSON value."""
    scalars = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | texts(fmt)
    return st.recursive(
        scalars,
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts(fmt), inner, max_size=3),
        max_leaves=6,
    )


def argument_names(fmt: ToolCallFormat) -> st.SearchStrategy[str]:
    """Any text for formats that quote names; what a schema would use for the others."""
    if fmt.needs_schema or fmt.name in ("pythonic", "lfm2"):
        return names
    return texts(fmt)


def calls_of(fmt: ToolCallFormat) -> st.SearchStrategy[list[Call]]:
    arguments = st.dictionaries(argument_names(fmt), values(fmt), max_size=4)
    return st.lists(st.builds(Call, names, arguments), min_size=1, max_size=3, unique_by=lambda call: call.name)


def tools_for(calls: list[Call]) -> list[Tool]:
    """Tools whose schemas give every argument the type that it has."""
    return [
        {
            "type": "function",
            "function": {
                "name": call.name,
                "parameters": {
                    "type": "object",
                    "properties": {key: {"type": json_type(value)} for key, value in call.arguments.items()},
                },
            },
        }
        for call in calls
    ]


def json_type(value: object) -> str:
    kinds = ((bool, "boolean"), (str, "string"), (int, "integer"), (float, "number"), (list, "array"))
    found = [name for kind, name in kinds if isinstance(value, kind)]
    return found[0] if found else "null" if value is None else "object"


@pytest.mark.parametrize("name", formats())
@settings(max_examples=50, deadline=None)
@given(data=st.data())
def test_every_format_reads_back_what_it_writes(name: str, data: st.DataObject) -> None:
    fmt = get_format(name)
    calls = data.draw(calls_of(fmt))
    text = fmt.render(calls)
    parsed = fmt.parse(text, tools=tools_for(calls))
    assert [(call.status, call.name) for call in parsed.calls] == [("ok", call.name) for call in calls]
    assert all(equal(read.arguments, call.arguments) for read, call in zip(parsed.calls, calls, strict=True))
    assert parsed.content == ""
    assert all(call.raw == text[call.start : call.end] for call in parsed.calls)
