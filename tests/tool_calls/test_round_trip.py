"""Every format reads back what it writes, and the round-trip check reports turns that are not read back."""

import string
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trainer.errors import FormatError
from trainer.tool_calls import RenderedTurn, ToolCallFormat, check_round_trip, formats, get_format
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

# The texts that a format cannot express inside a string, as listed in docs/tool-call-formats.md.
INEXPRESSIBLE = {
    "qwen3_xml": ("</function>", "parameter"),
    "glm45": ("</tool_call>", "arg_"),
    "muse_glimmer": ("</atem:invoke>", "atem:parameter"),
    "minimax_m2": ("</invoke>", "parameter"),
    "dots": ("</invoke>", "parameter"),
    "deepseek_v32": ("</｜DSML｜invoke>", "｜DSML｜parameter"),
    "deepseek_v4": ("</｜DSML｜invoke>", "｜DSML｜parameter"),
    "deepseek_v41": ("</｜DSML｜ invoke>", "｜DSML｜ parameter"),
    "seed_oss": ("</function>", "</parameter>", "<parameter="),
    "step3": ("</steptml:invoke>", "steptml:parameter"),
    "functiongemma": ("<escape>",),
    "gemma4": ('<|"|>',),
}
PLAIN_NAMES = ("pythonic", "lfm2", "olmo3", "deepseek_v32", "deepseek_v4", "deepseek_v41")

names = st.text(string.ascii_letters + string.digits + "_-", min_size=1, max_size=12).filter(
    lambda name: name[0] in string.ascii_letters
)


def texts(fmt: ToolCallFormat) -> st.SearchStrategy[str]:
    """Return texts, often with markers of this or another format, except those that the format cannot express."""
    refused = INEXPRESSIBLE.get(fmt.name, ())
    fragments = st.lists(st.sampled_from(MARKERS) | st.text(max_size=6), max_size=4).map("".join)
    return (st.text(max_size=12) | fragments).filter(lambda text: not any(mark in text for mark in refused))


def values(fmt: ToolCallFormat) -> st.SearchStrategy[Any]:
    """Return any JSON values."""
    scalars = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | texts(fmt)
    return st.recursive(
        scalars,
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts(fmt), inner, max_size=3),
        max_leaves=6,
    )


def argument_names(fmt: ToolCallFormat) -> st.SearchStrategy[str]:
    """Return any text for formats that quote names, and ordinary names for the others."""
    if fmt.needs_schema or fmt.name in PLAIN_NAMES:
        return names
    return texts(fmt)


def calls_of(fmt: ToolCallFormat) -> st.SearchStrategy[list[Call]]:
    arguments = st.dictionaries(argument_names(fmt), values(fmt), max_size=4)
    return st.lists(st.builds(Call, names, arguments), min_size=1, max_size=3, unique_by=lambda call: call.name)


def tools_for(calls: list[Call]) -> list[Tool]:
    """Return tools whose schemas declare the actual type of every argument."""
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


def turn(text: str, *calls: Call) -> RenderedTurn:
    return RenderedTurn(where='session "s1", turn 2', text=text, calls=calls)


def test_turns_that_are_read_back_pass_the_round_trip_check() -> None:
    fmt = get_format("hermes")
    call = Call("f", {"a": 1, "b": [None, True]})
    assert check_round_trip(fmt, [turn(fmt.render([call]) + "<|im_end|>", call), turn("Hello!")]) == 2


@pytest.mark.parametrize(
    ("text", "calls", "message"),
    [
        (
            '<tool_call>{"name": "f", "arguments": "{}"}</tool_call>',
            [Call("f", {})],
            "reads as bad_arguments",
        ),
        ("Hello!", [Call("f", {})], "0 calls read, 1 expected"),
        ('<tool_call>{"name": "f", "arguments": {}}</tool_call>', [], "1 calls read, 0 expected"),
        (
            '<tool_call>{"name": "f", "arguments": {"a": 1}}</tool_call>',
            [Call("f", {"a": True})],
            "reads as f",
        ),
    ],
)
def test_the_round_trip_check_names_the_turn_and_the_difference(text: str, calls: list[Call], message: str) -> None:
    with pytest.raises(FormatError, match=rf'1 of 1 assistant turns:\n  session "s1", turn 2: .*{message}'):
        check_round_trip(get_format("hermes"), [turn(text, *calls)])


def test_the_round_trip_check_counts_all_failures_and_shows_some() -> None:
    turns: list[Any] = [turn("", Call("f", {})) for _ in range(9)]
    with pytest.raises(FormatError, match="9 of 9") as caught:
        check_round_trip(get_format("hermes"), turns)
    assert str(caught.value).count("session") == 5
