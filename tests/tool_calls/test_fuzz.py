"""Mutated model outputs: no parser raises, hangs or finds calls in prose."""

import json
import os
import random
import time
from collections.abc import Iterator

import pytest

from trainer.tool_calls import ToolCallFormat, formats, get_format
from trainer.types import Call, ParsedText

# The full run has 100,000 per format: TOOL_CALL_MUTATIONS=100000 pytest tests/tool_calls/test_fuzz.py
N_MUTATIONS = int(os.environ.get("TOOL_CALL_MUTATIONS", "800"))
N_CHARACTERS = int(os.environ.get("TOOL_CALL_CHARACTERS", "40000"))

CALLS = (
    Call("search_inventory", {"make": 'Škoda "RS"', "max_price": 30000.5, "tags": ["a", "b"], "new": True}),
    Call("book_test_drive", {"slot": {"date": "2026-03-04", "n": 2}, "note": None, "path": "C:\\x\n'y'"}),
    Call("refresh", {}),
)
PROSE = (
    "Sure! The Audi A4 (2021) costs 24,900 francs; shall I book [a test drive](https://example.com/a?b=1)?",
    'Your config is {"name": "Bob", "age": 3, "tags": [1, 2]}, and f(x) = [g(1), h(y)] for x > 0.',
    "1. call the dealer\n2. [see notes]\n3. use functools.reduce(f, [1, 2]) or func(a=1)\n\n```json\n[1, 2]\n```",
    'In a JSON tool call you write "name" and "arguments"; <b>bold</b> & <think about it>.',
    "[1] first\n[2] second; {curly} 'quotes' \\ backslash \u00e9\u4e2d\U0001f600 tool call: function=3",
)
FRAGMENTS = (
    "<tool_call>", "</tool_call>", "<function=f>", "</function>", "<parameter=a>", "</parameter>", "<|python_tag|>",
    "[TOOL_CALLS]", "[ARGS]", "functools[", "<|tool_call|>", "<|/tool_call|>", "<start_function_call>", "<escape>",
    "<end_function_call>", "<|tool_call>call:f{", "<tool_call|>", '<|"|>', "<｜tool▁call▁begin｜>", "<｜tool▁sep｜>",
    "<｜tool▁call▁end｜>", "<|channel|>", "<|message|>", "<|call|>", "<|start|>assistant to=functions.f", "<think>",
    "</think>", "<arg_key>", "</arg_value>", "<arg_value>", "<|tool_call_start|>", "<|tool_call_end|>",
    '<atem:invoke name="f">', "</atem:invoke>", '{"name": "f", "arguments": {', '[{"name":', "[f(a=", '"', "'", "\\",
    "{", "}", "[", "]", "(", ")", ",", ":", ";", "\n", " ", "\\u00", "1e999", "NaN", "-", "\ud800", "\x00",
)  # fmt: skip


def mutate(text: str, rng: random.Random, fragments: tuple[str, ...]) -> str:
    for _ in range(rng.randint(1, 4)):
        a, b = sorted(rng.randrange(len(text) + 1) for _ in range(2))
        b = min(b, a + rng.choice((1, 3, 10, 40)))
        match rng.randrange(5):
            case 0:
                text = text[:a] + text[b:]
            case 1:
                text = text[:b] + text[a:b] + text[b:]
            case 2:
                text = text[:a] + rng.choice(fragments) + text[a:]
            case 3:
                text = text[:a]
            case 4:
                text = text[:a] + rng.choice(fragments) + text[b:]
    return text


def mutations(seeds: tuple[str, ...], fragments: tuple[str, ...], n: int) -> Iterator[str]:
    rng = random.Random(0)
    for _ in range(n):
        yield mutate(rng.choice(seeds), rng, fragments)


def check(fmt: ToolCallFormat, text: str, parsed: ParsedText) -> None:
    """Check that the attempts are in order inside the text, and that exactly those with status ok are well formed."""
    end = 0
    for call in parsed.calls:
        assert end <= call.start < call.end <= len(text)
        assert call.raw == text[call.start : call.end]
        end = call.end
        assert (call.status == "ok") == (call.arguments is not None)
        assert call.name or call.status not in ("ok", "bad_arguments")
        if call.arguments is not None:
            json.dumps(call.arguments, allow_nan=False)


@pytest.mark.parametrize("name", formats())
def test_no_mutated_output_raises_or_gives_inconsistent_attempts(name: str) -> None:
    fmt = get_format(name)
    written = fmt.render(CALLS)
    seeds = (written, f"Sure.\n{written}", fmt.render(CALLS[:1]), f"<think>hm</think>{written}", PROSE[0])
    for text in mutations(seeds, FRAGMENTS, N_MUTATIONS):
        check(fmt, text, fmt.parse(text))
        cut = fmt.parse(text, finished=False)
        assert all(call.status != "truncated" for call in cut.calls[:-1])


@pytest.mark.parametrize("name", formats())
def test_no_call_is_found_in_mutated_prose(name: str) -> None:
    fmt = get_format(name)
    words = (
        "a",
        "\n",
        " ",
        ",",
        "(x)",
        "[1]",
        "{",
        "}",
        '"',
        "'",
        "name",
        "arguments",
        ":",
        "=",
        "[",
        "]",
        ";",
    )
    for text in mutations(PROSE, words, N_MUTATIONS // 2):
        assert fmt.parse(text).calls == (), text


MALICIOUS = (
    "<tool_call>", '<tool_call>{"a":"', "<tool_call><function=f><parameter=a>1</parameter>", "[TOOL_CALLS][{",
    "functools[{", "<|tool_call|>[", "<start_function_call>call:f{a:<escape>", "<|tool_call>call:f{a:[",
    "<｜tool▁call▁begin｜>f<｜tool▁sep｜>{", "<|message|>", "<|channel|>", "<arg_key>a</arg_key><arg_value>",
    "<|tool_call_start|>[f(a='", "\n[f(a=", '{"name": "f", "arguments": {', '[{"name": "f", "arguments": {',
    "[[[[", "{", '"', "\\", " ", "\n", "9", "a", "<", "<think>", "</think>", '<atem:invoke name="f">',
)  # fmt: skip


@pytest.mark.parametrize("name", formats())
def test_time_grows_linearly_on_malicious_text(name: str) -> None:
    """A quadratic reader would take sixteen times as long for four times the text."""
    fmt = get_format(name)
    for unit in MALICIOUS:
        small, large = (seconds(fmt, unit * (n // len(unit))) for n in (N_CHARACTERS // 4, N_CHARACTERS))
        assert large < 8 * small + 0.02, f"{unit!r}: {small:.4f} s, then {large:.4f} s"


def seconds(fmt: ToolCallFormat, text: str) -> float:
    """Return the best of three times, so a busy machine does not fail the test."""
    best = float("inf")
    for _ in range(3):
        start = time.process_time()
        fmt.parse(text)
        best = min(best, time.process_time() - start)
    return best


ENDINGS = {
    "qwen3_xml": ("<function=f><parameter=a>", "</parameter></function>"),
    "glm45": ("<tool_call>f<arg_key>a</arg_key><arg_value>", "</arg_value></tool_call>"),
    "muse_glimmer": ('<atem:invoke name="f"><atem:parameter name="a">', "</atem:parameter></atem:invoke>"),
    "minimax_m2": ('<invoke name="f"><parameter name="a">', "</parameter></invoke>"),
    "seed_oss": ("<function=f><parameter=a>", "</parameter></function>"),
}


@pytest.mark.parametrize(("name", "unit", "ending"), [(name, *texts) for name, texts in ENDINGS.items()])
def test_time_grows_linearly_if_the_closing_tags_come_at_the_end(name: str, unit: str, ending: str) -> None:
    fmt = get_format(name)
    short, long = (seconds(fmt, unit * (n // len(unit)) + ending) for n in (25_000, 200_000))
    assert long < 24 * short + 0.2
