"""Answers that call nothing and look as if they did: lists, JSON, code, Markdown, and markers that are mentioned."""

import json
import random
import re
from collections.abc import Iterator, Sequence

from trainer.tool_calls import ToolCallFormat
from trainer.types import Call

_WORDS = (
    "the", "car", "dealer", "price", "we", "found", "two", "offers", "near", "Bern", "and", "a", "blue", "one",
    "with", "heated", "seats", "for", "tomorrow", "Škoda", "größer", "名前", "test drive", "function", "call", "tool",
    "arguments", "name", "parameters", "search", "result", "because", "of", "it's", "24,900", "is", "cheaper",
)  # fmt: skip
_NAMES = ("Bob", "Ann", "Audi A4", "load", "main", "get_wether", "print", "see", "Zoë", "f(x)")
_KEYS = ("name", "id", "type", "arguments", "parameters", "function", "age", "price", "tags", "notes", "nested")
_CODE = (
    "def main():\n    return [load(path='x'), run(n=1)]",
    "for (int i = 0; i < n; i++) { a[i] = f(i); }",
    "SELECT name, arguments FROM calls WHERE id = 3;",
    "<ul>\n  <li><b>name</b>: Bob</li>\n</ul>",
    'print(f"{name}: {arguments}")\nx = [main(), see(this)]',
    "const call = {name: 'load', arguments: [1, 2]};",
    '<entries>\n  <entry key="a">1</entry>\n</entries>',
    'curl -d \'{"name": "Bob"}\' https://example.com/[id]',
)
_QUOTED = (
    'The JSON you asked for: [{"name": "Bob", "age": 3}, {"name": "Eve", "age": 4}].',
    '[{"name": "Bob", "arguments": {"age": 3}}]',
    '{"name": "Bob", "parameters": {"age": 3}}',
    '{"answer": 42, "sources": ["a", "b"]}',
    '[see(page=3), read(line="5")]',
    "[main(argv=[1, 2])]",
    "- [first](https://example.com/a?b=1)\n- [second](b=2)",
    "```python\nresult = f(a=1)\nprint([g(b=2)])\n```",
    '```json\n["a", {"name": "x", "arguments": {}}]\n```',
    "Put the call between the tags, as the manual says.",
    "In the manual: to=functions.f is the recipient.",
)
_MENTIONS = (
    "The {m} tag opens a call.", "It begins with `{m}`, then JSON.", 'Write "{m}" and nothing else.',
    "What does {m} mean?", "Use {m} and {n} around it.", "The model writes ({m}) first.", "- {m}: opens a call",
    "Between {m} and {n} is JSON, as in {m}...{n} of the page.", "| `{m}` | opens |", "**{m}** is a marker.",
    "'{m}' is special; so is '{n}'.", "There is no {m}, only text.", "Das {m}-Zeichen beginnt es.",
    "请使用 {m} 标签。", "Two {m}s follow, or {m}/{n}.", "I saw {m} (a token) and left.",
)  # fmt: skip


def prose(seed: int, markers: Sequence[str]) -> Iterator[str]:
    """Yield answers without end. `markers` are the texts that they mention."""
    rng = random.Random(seed)
    while True:
        parts = [rng.choice(_PARTS)(rng, markers) for _ in range(rng.randint(1, 4))]
        yield rng.choice(("\n", "\n\n", " ", "\n- ")).join(parts)


def markers_of(fmt: ToolCallFormat) -> list[str]:
    """Return the markers in a call as the format writes it."""
    return re.findall(r"<[^<>]+>|\[[A-Z_]+\]", fmt.render([Call("f", {"a": "x"})]))


def _sentence(rng: random.Random, _: Sequence[str]) -> str:
    words = rng.choices(_WORDS, k=rng.randint(2, 12))
    return " ".join(words).capitalize() + rng.choice((".", "!", "?", ":", "..."))


def _value(rng: random.Random, depth: int = 0) -> object:
    if depth < 3 and rng.random() < 0.4:
        keys = rng.sample(_KEYS, rng.randint(0, 4))
        members = {key: rng.choice(_NAMES) if key == "name" else _value(rng, depth + 1) for key in keys}
        return members if rng.random() < 0.6 else [members] * rng.randint(0, 3)
    return rng.choice([None, True, 3, -2.5, "Bob", "a [b](c) {d}", "", [1, 2], ["red", "blue"], {"low": 3}])


def _json(rng: random.Random, _: Sequence[str]) -> str:
    """Return a JSON answer, often with the keys that calls have and the name of no tool."""
    value = _value(rng)
    if rng.random() < 0.4:
        value = {"name": rng.choice(_NAMES), rng.choice(("arguments", "parameters", "id")): _value(rng)}
        value = [value] if rng.random() < 0.5 else value
    text = json.dumps(value, indent=rng.choice((None, 2)), ensure_ascii=False)
    if rng.random() < 0.1:
        text = text[: rng.randint(1, len(text))]
    return f"```json\n{text}\n```" if rng.random() < 0.4 else text


def _quoted_list(rng: random.Random, _: Sequence[str]) -> str:
    calls = ", ".join(f"{rng.choice(_NAMES[3:8])}({rng.choice(('', 'this', 'a=1', 'x, y'))})" for _ in range(2))
    return rng.choice((f"[{calls}]", f"Like this: [{calls}].", f"[{calls}](https://example.com/{calls})"))


def _code(rng: random.Random, _: Sequence[str]) -> str:
    code = rng.choice(_CODE)
    return f"```\n{code}\n```" if rng.random() < 0.7 else code


def _markdown(rng: random.Random, markers: Sequence[str]) -> str:
    items = [_sentence(rng, markers) for _ in range(rng.randint(1, 4))]
    return rng.choice(("- ", "1. ", "> ", "[1] ", "# ", "* **", "[x] ")).join(["", *(item + "\n" for item in items)])


def _mention(rng: random.Random, markers: Sequence[str]) -> str:
    return rng.choice(_MENTIONS).format(m=rng.choice(markers), n=rng.choice(markers))


def _quotation(rng: random.Random, _: Sequence[str]) -> str:
    return rng.choice(_QUOTED)


_PARTS = (_sentence, _json, _quoted_list, _code, _markdown, _mention, _quotation)
