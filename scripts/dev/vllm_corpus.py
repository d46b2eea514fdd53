"""Texts that models write, for every tool-call format: rendered calls, typical answers, damaged ones. Needs no vLLM."""

import random
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from trainer.tool_calls import ToolCallFormat
from trainer.types import Call, Tool

_VALUE = {
    "text": {"type": "string"},
    "n": {"type": "integer"},
    "price": {"type": "number"},
    "new": {"type": "boolean"},
    "maybe": {"type": ["string", "null"]},
    "tags": {"type": "array", "items": {"type": "string"}},
    "range": {"type": "object", "properties": {"low": {"type": "integer"}, "unit": {"type": "string"}}},
    "rows": {"type": "array", "items": {"type": "object", "properties": {"id": {"type": "integer"}}}},
}
NAMES = ("find_car", "book", "get.status")
TOOLS: tuple[Tool, ...] = tuple(
    {
        "type": "function",
        "function": {"name": name, "description": "A tool.", "parameters": {"type": "object", "properties": _VALUE}},
    }
    for name in NAMES
)


class Text(NamedTuple):
    """What a model wrote, and which kind of answer it is. A `usual` kind is what a good model writes.

    `sent` is the text with what the model's template writes around it, which this project's readers take for text.
    """

    kind: str
    text: str
    usual: bool
    sent: str


def typical(fmt: ToolCallFormat) -> Iterator[Text]:
    """Yield typical answers in a format, each kind once or a few times."""
    for kind, text in _usual(fmt):
        if all(call.status == "ok" for call in fmt.parse(text, tools=TOOLS).calls):  # else the format cannot express it
            yield Text(kind, text, True, _framed(fmt, text))
    for kind, text in _unusual(fmt):
        yield Text(kind, text, False, _framed(fmt, text))


def _framed(fmt: ToolCallFormat, text: str) -> str:
    """Return the text in the channels of Muse Glimmer, whose parser reads nothing without them."""
    if fmt.name != "muse_glimmer":
        return text
    before, call, rest = text.partition("<atem:")
    to_user = f" to=user<|message|>{before}" if before or not call else ""
    between = "<|eom|><|start|>assistant" if before and call else ""
    return to_user + (f"{between} to=find_car<|message|>{call}{rest}" if call else "")


_ONE = [Call("find_car", {"text": "blue", "n": 5})]
_TWO = [*_ONE, Call("book", {"text": "Mon"})]
_GOLD: dict[str, Sequence[Sequence[Call]]] = {
    "one call": [_ONE],
    "two calls": [_TWO, [*_ONE, *_ONE]],
    "no arguments": [[Call("book", {})], [Call("book", {}), *_ONE]],
    "numbers, booleans, null": [[Call("find_car", {"n": 0, "price": 30000.5, "new": False, "maybe": None})]],
    "numbers as text": [[Call("find_car", {"text": "5"})], [Call("find_car", {"text": "007", "maybe": "true"})]],
    "arrays and objects": [
        [Call("find_car", {"tags": ["a", "b c"], "range": {"low": 3, "unit": "5"}})],
        [Call("find_car", {"rows": [{"id": 1}, {"id": 2}], "tags": []})],
    ],
    "letters of other scripts": [[Call("find_car", {"text": "Škoda 東京 \U0001f697"})]],
    "quotes and line breaks": [[Call("find_car", {"text": 'He said "it\'s"\n  two\tlines\n'})]],
    "markup in text": [[Call("find_car", {"text": "a <b> & </c> {d} [e], f(g)"})]],
    "backslashes": [[Call("find_car", {"text": "C:\\new\\table"})]],
    "empty text": [[Call("find_car", {"text": ""})]],
    "a name with a dot": [[Call("get.status", {"n": 1})]],
}


def _usual(fmt: ToolCallFormat) -> Iterator[tuple[str, str]]:
    for kind, turns in _GOLD.items():
        yield from ((kind, fmt.render(calls)) for calls in turns)
    yield "a closing marker in text", fmt.render([Call("find_car", {"text": f"a {fmt.render(_ONE)[-12:]} b"})])
    yield "text before a call", f"Let me look.\n{fmt.render(_ONE)}"
    yield "text before two calls", f"Let me look.\n\n{fmt.render(_TWO)}"
    yield "text only", "The Audi costs 24,900 (2021), and it has < 9,000 km; shall I book [a drive](https://a.b)?"
    yield "text with JSON", 'Your settings are {"name": "Bob", "age": 3} and [1, 2].'


def _unusual(fmt: ToolCallFormat) -> Iterator[tuple[str, str]]:
    written = fmt.render(_ONE)
    yield "text after a call", f"{written}\nOne moment."
    yield "unfinished call", written[: len(written) * 6 // 10]
    yield "unfinished second call", fmt.render(_TWO)[: -max(12, len(written) // 3)]
    yield "broken call", _without_last(written, '"}]>)')
    yield "broken call and a good one", f"{_without_last(written, '}])>')}\n{written}"


def rendered(fmt: ToolCallFormat, n: int, seed: int = 0) -> Iterator[str]:
    """Yield `n` turns with random calls and sometimes text around them."""
    rng = random.Random(f"{fmt.name} {seed}")
    for _ in range(n):
        calls = [Call(rng.choice(NAMES), _arguments(rng)) for _ in range(rng.choice((1, 1, 1, 2, 3)))]
        before = rng.choice(("", "", "", "Let me look.\n", "Sure: 2 < 3, {a} and [b].\n\n"))
        yield before + fmt.render(calls) + rng.choice(("", "", "", "", "\nOne moment."))


def damaged(fmt: ToolCallFormat, n: int, seed: int = 0) -> Iterator[str]:
    """Yield `n` turns that were cut, or lost, repeated or gained some characters or markers."""
    rng = random.Random(f"damaged {fmt.name} {seed}")
    for text in rendered(fmt, n, seed + 1):
        for _ in range(rng.randint(1, 3)):
            start = rng.randrange(len(text) + 1)
            end = min(len(text), start + rng.choice((1, 3, 10, 40)))
            piece = rng.choice((*_MARKS, text[start:end], fmt.render([])[:20]))
            text = rng.choice((text[:start], text[:start] + text[end:], text[:start] + piece + text[start:]))
        yield text


_MARKS = ('"', "'", "{", "}", "[", "]", ")", "<", ">", "\\", "\n", "<think>", "<tool_call>", "</tool_call>", "```", "é")
_TEXTS = ("blue", "5", "Škoda 東京", 'say "hi"', "a\nb", "it's", "<b>", "", "true", "x, y", "C:\\d", "{a: 1}", "[1]")


def _arguments(rng: random.Random) -> dict[str, Any]:
    values: dict[str, Any] = {
        "text": rng.choice(_TEXTS),
        "n": rng.choice((0, 5, -3, 10**12)),
        "price": rng.choice((30000.5, 1e-7, 2)),
        "new": rng.choice((True, False)),
        "maybe": rng.choice((None, *_TEXTS)),
        "tags": rng.sample(_TEXTS, rng.randint(0, 3)),
        "range": {"low": rng.randint(0, 9), "unit": rng.choice(_TEXTS)},
        "rows": [{"id": n, "name": rng.choice(_TEXTS)} for n in range(rng.randint(0, 2))],
    }
    return {key: values[key] for key in rng.sample(sorted(values), rng.randint(0, 4))}


def _without_last(text: str, characters: str) -> str:
    """Return the text without the last of these characters in its second half, as a model forgets it."""
    position = max(text.rfind(character, len(text) // 2) for character in characters)
    return text if position < 0 else text[:position] + text[position + 1 :]
