"""Well-formed and malformed texts as models write them, and how each is read."""

import json
from collections.abc import Mapping

import pytest

from trainer.errors import FormatError
from trainer.tool_calls import formats, get_format
from trainer.types import Tool

OK, JSON, UNCLOSED, NAME, ARGUMENTS = "ok", "invalid_json", "unclosed", "missing_name", "bad_arguments"
Read = tuple[str, str | None, Mapping[str, object] | None]
F1: Read = (OK, "f", {"a": 1})
G2: Read = (OK, "g", {"b": "x"})
BEGIN, SEP, END = "<｜tool▁call▁begin｜>", "<｜tool▁sep｜>", "<｜tool▁call▁end｜>"

WELL_FORMED: list[tuple[str, str, list[Read], str]] = [
    ("hermes", '<tool_call>{"name":"f","arguments":{"a":1}}</tool_call>', [F1], ""),
    (
        "hermes",
        'Sure.\n<tool_call>\n{"name": "f", "arguments": {"a": 1}}\n</tool_call>\n'
        '<tool_call>\n{"name": "g", "arguments": {"b": "x"}}\n</tool_call>\nDone.',
        [F1, G2],
        "Sure.\nDone.",
    ),
    ("hermes", '<tool_call>{"arguments": {}, "id": 7, "name": "f"}</tool_call>', [(OK, "f", {})], ""),
    (
        "qwen3_xml",
        "<tool_call>\n<function=f>\n<parameter=a>\n1\n</parameter>\n</function>\n</tool_call>",
        [F1],
        "",
    ),
    ("qwen3_xml", "<function=f><parameter=a>1</parameter></function> ok", [F1], "ok"),
    ("llama3_json", '{"name": "f", "parameters": {"a": 1}}', [F1], ""),
    ("llama3_json", '<|python_tag|>{"type": "function", "name": "f", "parameters": {"a": 1}}', [F1], ""),
    ("llama3_json", '{"name":"f","arguments":{"a":1}}; {"name":"g","parameters":{"b":"x"}}', [F1, G2], ""),
    ("llama3_json", 'Let me see: {"name": "f", "parameters": {"a": 1}}', [F1], "Let me see:"),
    ("pythonic", "[f(a=1), g(b='x')]", [F1, G2], ""),
    ("pythonic", "<|python_start|>[f(a=1,)]<|python_end|>", [F1], ""),
    ("pythonic", 'On it.\n[g(b="x")]', [G2], "On it."),
    ("pythonic", '[f(a={"k": [None, True, -1.5e3], \'q\': "\\n"})]',
     [(OK, "f", {"a": {"k": [None, True, -1500.0], "q": "\n"}})], ""),
    ("pythonic", '[f(a="\\ud83d\\ude00\\x41")]', [(OK, "f", {"a": "\U0001f600A"})], ""),
    ("pythonic", "As before:\n[main()]\nor [see(below)].", [], "As before:\n[main()]\nor [see(below)]."),
    ("lfm2", '<|tool_call_start|>[f(a=1), g(b="x")]<|tool_call_end|>Checking.', [F1, G2], "Checking."),
    ("mistral", '[TOOL_CALLS] [{"name": "f", "arguments": {"a": 1}, "id": "abcdefghi"}]', [F1], ""),
    ("mistral_v11", '[TOOL_CALLS]f[ARGS]{"a": 1}[TOOL_CALLS]g[CALL_ID]123[ARGS]{"b": "x"}', [F1, G2], ""),
    ("xlam", '[{"name": "f", "arguments": {"a": 1}}, {"name": "g", "arguments": {"b": "x"}}]', [F1, G2], ""),
    ("xlam", '```json\n[{"name": "f", "arguments": {"a": 1}}]\n```', [F1], ""),
    ("xlam", 'Here: [{"name": "f", "arguments": {"a": 1}}]', [F1], "Here:"),
    ("xlam", '[{"a": 1}, {"b": 2}]', [], '[{"a": 1}, {"b": 2}]'),
    ("xlam", 'As JSON: [{"name": "Bob", "arguments": []}]', [], 'As JSON: [{"name": "Bob", "arguments": []}]'),
    ("llama3_json", 'As JSON: {"name": "Bob", "age": 3}', [], 'As JSON: {"name": "Bob", "age": 3}'),
    ("functiongemma", "<start_function_call>call:f{a:1}<end_function_call>", [F1], ""),
    ("functiongemma", "<start_function_call>call:g{b:<escape>x<escape>}<end_function_call>", [G2], ""),
    ("gemma4", '<|tool_call>call:g{b:<|"|>x<|"|>}<tool_call|><|tool_call>call:f{a:1}<tool_call|>', [G2, F1], ""),
    ("gemma4", '<|tool_call>call:f{o:{k:None,l:[true,<|"|>y<|"|>]}}<tool_call|>',
     [(OK, "f", {"o": {"k": None, "l": [True, "y"]}})], ""),
    ("phi4_mini_json", 'functools[{"name": "f", "arguments": {"a": 1}}]', [F1], ""),
    ("phi4_mini_json", '<|tool_call|>[{"name": "f", "arguments": {"a": [1]}}]<|/tool_call|>',
     [(OK, "f", {"a": [1]})], ""),
    ("granite", '<|tool_call|>[{"name": "f", "arguments": {"a": 1}}]', [F1], ""),
    ("granite", '<tool_call>[{"name": "f", "arguments": {"a": 1}}]', [F1], ""),
    ("deepseek_v3", f"<｜tool▁calls▁begin｜>{BEGIN}function{SEP}f\n```json\n{{\"a\": 1}}\n```{END}<｜tool▁calls▁end｜>",
     [F1], ""),
    ("deepseek_v31", f'Hm.<｜tool▁calls▁begin｜>{BEGIN}f{SEP}{{"a": 1}}{END}{BEGIN}g{SEP}{{"b": "x"}}{END}',
     [F1, G2], "Hm."),
    ("openai", ' to=functions.f<|channel|>commentary json<|message|>{"a": 1}<|call|>', [F1], ""),
    ("openai",
     "<|channel|>analysis<|message|>Think f.<|end|><|start|>assistant<|channel|>commentary to=functions.f "
     '<|constrain|>json<|message|>{"a": 1}', [F1], ""),
    ("openai", "<|start|>assistant to=user<|channel|>final<|message|>Hello!<|return|>", [], "Hello!"),
    ("openai", " to=functions.assistant<|message|>{}", [(OK, "assistant", {})], ""),
    ("openai", "<|channel|>analysis<|message|>Hm.<|end|><|start|>assistant<|channel|>final<|message|>Hello!", [],
     "Hello!"),
    ("glm45", "<tool_call>f\n<arg_key>a</arg_key>\n<arg_value>1</arg_value>\n</tool_call>", [F1], ""),
    ("muse_glimmer",
     '<atem:function_calls>\n<atem:invoke name="f">\n<atem:parameter name="a">1</atem:parameter>\n</atem:invoke>\n'
     "</atem:function_calls>", [F1], ""),
]  # fmt: skip

MALFORMED: list[tuple[str, str, list[Read]]] = [
    ("hermes", '<tool_call>\n{"name": "f", "arguments": {"a": 1}}}\n</tool_call>', [(JSON, None, None)]),
    ("hermes", "<tool_call>{'name': 'f', 'arguments': {}}</tool_call>", [(JSON, None, None)]),
    ("hermes", '<tool_call>{"name": "f", "arguments": {"a": NaN}}</tool_call>', [(JSON, None, None)]),
    ("hermes", '<tool_call>{"name": "f", "arguments": {"a": 1e999}}</tool_call>', [(JSON, None, None)]),
    ("hermes", '<tool_call>{"arguments": {"a": 1}}</tool_call>', [(NAME, None, None)]),
    ("hermes", '<tool_call>{"name": 3, "arguments": {}}</tool_call>', [(NAME, None, None)]),
    ("hermes", '<tool_call>[{"name": "f", "arguments": {}}]</tool_call>', [(NAME, None, None)]),
    ("hermes", '<tool_call>{"name": "f"}</tool_call>', [(ARGUMENTS, "f", None)]),
    ("hermes", '<tool_call>{"name": "f", "arguments": null}</tool_call>', [(ARGUMENTS, "f", None)]),
    ("hermes", '<tool_call>{"name": "f", "arguments": "{\\"a\\": 1}"}</tool_call>', [(ARGUMENTS, "f", None)]),
    ("hermes", '<tool_call>{"name": "f", "arguments": {"a": 1}}', [(UNCLOSED, None, None)]),
    ("hermes", '<tool_call>{"na<tool_call>{"name": "f", "arguments": {"a": 1}}</tool_call>',
     [(UNCLOSED, None, None), F1]),
    ("hermes", '<tool_call>{"name": "f", oops}</tool_call><tool_call>{"name": "f", "arguments": {"a": 1}}</tool_call>',
     [(JSON, None, None), F1]),
    ("hermes", '{"name": "f", "arguments": {"a": 1}}\n</tool_call>', [(UNCLOSED, None, None)]),
    ("qwen3_xml", "<tool_call>\n<function=f>\n<parameter=a>\n1\n</function>\n</tool_call>", [(ARGUMENTS, "f", None)]),
    ("qwen3_xml", "<function=f><parameter=a>1</function><function=f><parameter=a>1</parameter></function>",
     [(ARGUMENTS, "f", None), F1]),
    ("qwen3_xml", "<tool_call>\n<function=f>\n<parameter=a>\n1\n</parameter>\n</function>", [(UNCLOSED, None, None)]),
    ("qwen3_xml", '<tool_call>{"name": "f", "arguments": {}}</tool_call>', [(NAME, None, None)]),
    ("llama3_json", '{"name": "f"}', [(ARGUMENTS, "f", None)]),
    ("llama3_json", '{"name": "f", "parameters": {"a": 1', [(UNCLOSED, None, None)]),
    ("llama3_json", '{"name": "f", "parameters": {"a": x}}', [(JSON, None, None)]),
    ("llama3_json", "<|python_tag|>brave_search.call(query=\"x\")", [(JSON, None, None)]),
    ("llama3_json", "{'name': 'f', 'parameters': {'a': 1}}", [(JSON, None, None)]),
    ("xlam", "[{'name': 'f', 'arguments': {'a': 1}}]", [(JSON, None, None)]),
    ("llama3_json", "<|python_tag|>", [(UNCLOSED, None, None)]),
    ("pythonic", "[f(1)]", [(ARGUMENTS, "f", None)]),
    ("pythonic", "[f(a=__import__('os').system('true'))]", [(ARGUMENTS, "f", None)]),
    ("pythonic", "[f(a=1), g(b='x'", [F1, (UNCLOSED, None, None)]),
    ("lfm2", "<|tool_call_start|>[f(a=1), g(b=)]<|tool_call_end|>", [F1, (ARGUMENTS, "g", None)]),
    ("lfm2", "<|tool_call_start|>f(a=1)<|tool_call_end|>", [(NAME, None, None)]),
    ("mistral", '[TOOL_CALLS][{"name": "f", "arguments": {"a": 1}}, {"name": ', [F1, (UNCLOSED, None, None)]),
    ("mistral", '[TOOL_CALLS]f[ARGS]{"a": 1}', [(UNCLOSED, None, None)]),
    ("mistral_v11", '[TOOL_CALLS]f[ARGS]{"a": }', [(ARGUMENTS, "f", None)]),
    ("mistral_v11", '[TOOL_CALLS]f[ARGS]{"a": 1', [(UNCLOSED, None, None)]),
    ("xlam", '[{"arguments": {}}]', [(NAME, None, None)]),
    ("functiongemma", "<start_function_call>call:f{a:}<end_function_call>", [(ARGUMENTS, "f", None)]),
    ("functiongemma", "<start_function_call>f{a:1}<end_function_call>", [(NAME, None, None)]),
    ("gemma4", '<|tool_call>call:f{a:<|"|>x', [(UNCLOSED, None, None)]),
    ("phi4_mini_json", '<|tool_call|>[{"name": "f", "arguments": {}}]', [(UNCLOSED, None, None)]),
    ("phi4_mini_json", '<|tool_call|>[{"name": }]<|/tool_call|> ok', [(JSON, None, None)]),
    ("granite", "<|tool_call|>[]", [(NAME, None, None)]),
    ("deepseek_v3", f"{BEGIN}function{SEP}f\n```json\n{{\"a\": }}\n```{END}", [(ARGUMENTS, "f", None)]),
    ("deepseek_v31", f'{BEGIN}f{SEP}{{"a": 1}}', [(UNCLOSED, None, None)]),
    ("openai", ' to=functions.f<|channel|>commentary json<|message|>{"a": 1', [(UNCLOSED, None, None)]),
    ("openai", " to=functions.f<|channel|>comm", [(UNCLOSED, None, None)]),
    ("openai", ' to=functions.f<|channel|>commentary json<|message|>[1]<|call|>', [(ARGUMENTS, "f", None)]),
    ("glm45", "<tool_call>f\n<arg_key>a</arg_key>\n<arg_value>1\n</tool_call>", [(ARGUMENTS, "f", None)]),
    ("muse_glimmer", '<atem:invoke name="f">\n<atem:parameter name="a">1', [(UNCLOSED, None, None)]),
]  # fmt: skip


def reading(name: str, text: str, *, finished: bool = True) -> tuple[list[Read], str]:
    parsed = get_format(name).parse(text, finished=finished)
    return [(call.status, call.name, call.arguments) for call in parsed.calls], parsed.content


@pytest.mark.parametrize(("name", "text", "calls", "content"), WELL_FORMED)
def test_well_formed_calls_are_read_and_the_prose_is_kept(
    name: str, text: str, calls: list[Read], content: str
) -> None:
    assert reading(name, text) == (calls, content)


@pytest.mark.parametrize(("name", "text", "calls"), MALFORMED)
def test_every_malformed_attempt_is_kept_with_its_status(name: str, text: str, calls: list[Read]) -> None:
    assert reading(name, text)[0] == calls


@pytest.mark.parametrize(("name", "text", "calls"), [case for case in MALFORMED if case[2][-1][0] == UNCLOSED])
def test_an_unclosed_last_attempt_is_truncated_when_generation_was_cut(name: str, text: str, calls: list[Read]) -> None:
    assert [call[0] for call in reading(name, text, finished=False)[0]] == [
        *(call[0] for call in calls[:-1]),
        "truncated",
    ]


def test_a_call_in_the_middle_is_never_truncated() -> None:
    text = '<tool_call>{"na\n<tool_call>{"name": "f", "arguments": {}}</tool_call>'
    assert [call[0] for call in reading("hermes", text, finished=False)[0]] == ["unclosed", "ok"]


def test_spans_point_at_the_attempts() -> None:
    text = 'Sure. <tool_call>{"name": "f", "arguments": {}}</tool_call> Bye.'
    (call,) = get_format("hermes").parse(text).calls
    assert (call.start, call.end) == (6, len(text) - 5)
    assert call.raw == text[6:-5]


def test_items_of_a_list_have_spans_of_their_own() -> None:
    first, second = get_format("pythonic").parse("[f(a=1), g()]").calls
    assert (first.raw, second.raw) == ("f(a=1)", "g()")


def test_calls_inside_the_reasoning_do_not_count() -> None:
    draft, call = (f'<tool_call>{{"name": "{name}", "arguments": {{}}}}</tool_call>' for name in ("draft", "real"))
    for text in (f"<think>\n{draft}</think>\n{call}", f"{draft} hm </think>{call}"):
        assert reading("hermes", text) == ([(OK, "real", {})], "")
    assert reading("hermes", f"<think>{draft}") == ([], "")
    assert reading("mistral_v11", "[THINK][TOOL_CALLS]f[ARGS]{}[/THINK]Hi") == ([], "Hi")


def test_a_closing_think_tag_in_an_argument_is_text() -> None:
    text = '<tool_call>{"name": "f", "arguments": {"a": "</think>"}}</tool_call>'
    assert reading("hermes", text)[0] == [(OK, "f", {"a": "</think>"})]


@pytest.mark.parametrize("value", [True, 123456, -1.5e-7, "\u00e9\n", None, {"k": []}])
def test_long_arguments_are_read_at_any_position_of_the_window(value: object) -> None:
    """The reader decodes a window of the text. The end of the window must not change the result."""
    for n_padding in range(1950, 2070):
        body = json.dumps({"name": "f", "arguments": {"a": "x" * n_padding, "b": value}})
        (call,) = get_format("hermes").parse(f"<tool_call>{body}</tool_call>").calls
        assert call.arguments == {"a": "x" * n_padding, "b": value}


def test_deeply_nested_arguments_are_refused_without_a_crash() -> None:
    for depth, status in ((40, OK), (80, JSON), (100_000, JSON)):
        text = f'<tool_call>{{"name": "f", "arguments": {{"a": {"[" * depth}{"]" * depth}}}}}</tool_call>'
        assert [call[0] for call in reading("hermes", text)[0]] == [status]


@pytest.mark.parametrize(
    ("name", "text"),
    [
        (
            "qwen3_xml",
            "<function=f><parameter=s>5</parameter><parameter=i>5</parameter><parameter=b>True</parameter>"
            "<parameter=n>null</parameter><parameter=o>{'k': 1}</parameter></function>",
        ),
        (
            "glm45",
            "<tool_call>f\n<arg_key>s</arg_key><arg_value>5</arg_value><arg_key>i</arg_key><arg_value>5</arg_value>"
            "<arg_key>b</arg_key><arg_value>true</arg_value><arg_key>n</arg_key><arg_value>None</arg_value>"
            '<arg_key>o</arg_key><arg_value>{"k": 1}</arg_value></tool_call>',
        ),
    ],
)
def test_the_schema_gives_untyped_values_their_type(name: str, text: str) -> None:
    properties = {
        "s": {"type": "string"},
        "i": {"type": "integer"},
        "b": {"type": "boolean"},
        "n": {"anyOf": [{"type": "string"}, {"type": "null"}]},
        "o": {"type": "object"},
    }
    tool: Tool = {
        "function": {"name": "f", "parameters": {"type": "object", "properties": properties}},
    }
    (call,) = get_format(name).parse(text, tools=[tool]).calls
    assert call.arguments == {"s": "5", "i": 5, "b": True, "n": None, "o": {"k": 1}}


def test_an_unknown_format_lists_the_known_ones() -> None:
    with pytest.raises(FormatError, match=r'unknown tool-call format "hermse"; known: hermes, qwen3_xml'):
        get_format("hermse")


def test_the_known_formats_are_these() -> None:
    assert formats() == (
        "hermes", "qwen3_xml", "llama3_json", "pythonic", "mistral", "mistral_v11", "xlam", "functiongemma", "gemma4",
        "phi4_mini_json", "granite", "deepseek_v3", "deepseek_v31", "deepseek_v32", "deepseek_v4", "deepseek_v41",
        "openai", "glm45", "lfm2", "muse_glimmer", "kimi_k2", "minimax_m2", "dots", "seed_oss", "step3", "olmo3",
        "hunyuan_a13b", "internlm", "longcat", "cohere_command", "apertus",
    )  # fmt: skip
