"""Detect which format a chat template writes, by rendering known calls. Sees a template only as a function."""

import json
import re
from collections.abc import Callable, Iterator, Sequence
from itertools import product
from typing import Any, NamedTuple

from trainer.errors import FormatError
from trainer.tool_calls.base import ToolCallFormat
from trainer.tool_calls.registry import formats, get_format
from trainer.tools.equality import equal
from trainer.types import Call, Message, Tool, ToolCallJson

Render = Callable[[Sequence[Message], Sequence[Tool]], str]

_PROPERTIES: dict[str, Any] = {
    "city": {"type": "string"},
    "note": {"type": "string"},
    "n_seats": {"type": "integer"},
    "max_price": {"type": "number"},
    "is_new": {"type": "boolean"},
    "colours": {"type": "array", "items": {"type": "string"}},
    "range": {"type": "object", "properties": {"low": {"type": "integer"}, "note": {"type": "string"}}},
}
PROBE_TOOLS: tuple[Tool, ...] = tuple(
    {
        "type": "function",
        "function": {
            "name": name,
            "description": "A probe.",
            "parameters": {"type": "object", "properties": _PROPERTIES, "required": ["city"]},
        },
    }
    for name in ("probe_search", "probe_book")
)
PROBE_CALLS = (
    Call(
        "probe_search",
        {
            "city": 'La "Chaux"',
            "n_seats": 5,
            "max_price": 30000.5,
            "is_new": True,
            "colours": ["red", "dark blue"],
            "range": {"low": 3, "note": "5"},
        },
    ),
    Call("probe_book", {"city": "Bern", "n_seats": 2}),
)
# Some templates write every value as a quoted string. Their format is still detected. The round-trip check
# of the data's own calls then shows which ones such a template cannot express.
PLAIN_CALLS = (Call("probe_book", {"city": "Bern", "note": "by the lake"}),)

_MARKER_BEGIN = re.compile(r"<[^<>\s]*+\Z")
_MARKER_END = re.compile(r"[^<>\s]*+>")


class _Probe(NamedTuple):
    """A conversation that ends with known calls, and the same one with plain text in their place."""

    calls: tuple[Call, ...]
    with_calls: list[Message]
    with_text: list[Message]


class _Reading(NamedTuple):
    fmt: ToolCallFormat
    left_over: str


def detect_format(render: Render) -> ToolCallFormat:
    """Return the format that reads back known calls from what `render` wrote with the chat template.

    `render` turns a conversation and its tools into text, without a generation prompt. Templates differ in
    what they accept, so these are tried until a format is found: two parallel calls, one call, one call with
    strings only; empty and null content; arguments as an object and as a JSON string; without and with tool
    results. The format has to explain the whole turn: text that is neither a call nor a marker of the format belongs to
    another one, which servers would read differently.

    Raises FormatError if no format fits or several do. The text names what is left over, or the candidates, and what to
    do.
    """
    failures = []
    for probe in _probes():
        try:
            turn = _assistant_text(render, probe)
        except Exception as error:  # a template may raise anything; it means "not this way"
            failures.append(f"{type(error).__name__}: {error}")
            continue
        readings = sorted(_readings(turn, probe.calls), key=lambda reading: len(reading.left_over))
        best = [reading.fmt for reading in readings if not reading.left_over]
        if len(best) > 1:
            names = ", ".join(fmt.name for fmt in best)
            raise FormatError(f"the chat template's tool calls match several formats: {names}; {_remedy()}")
        if best:
            return best[0]
        failures.append(_failure(turn, readings))
    raise FormatError(f"cannot detect the chat template's tool-call format: {failures[0]}; {_remedy()}")


def _probes() -> Iterator[_Probe]:
    # This text begins and ends with letters that no format begins or ends with. So the text that both
    # conversations share ends exactly where the turns differ.
    question: Message = {"role": "user", "content": "Probe?"}
    answer: Message = {"role": "assistant", "content": "Qz words zQ"}
    variants = product((False, True), (PROBE_CALLS, PROBE_CALLS[:1], PLAIN_CALLS), ("", None), (False, True))
    for has_results, calls, content, as_string in variants:
        tool_calls = _to_json(calls, as_string)
        turn: Message = {"role": "assistant", "content": content, "tool_calls": tool_calls}
        results: list[Message] = [
            {"role": "tool", "tool_call_id": call["id"], "name": call["function"]["name"], "content": "found"}
            for call in tool_calls
        ]
        rest = [*results, answer] if has_results else []
        yield _Probe(calls, [question, turn, *rest], [question, answer])


def _to_json(calls: Sequence[Call], as_string: bool) -> list[ToolCallJson]:
    return [
        {
            "id": f"probe000{index}",  # Mistral's templates require nine characters
            "type": "function",
            "function": {
                "name": call.name,
                "arguments": json.dumps(call.arguments) if as_string else call.arguments,
            },
        }
        for index, call in enumerate(calls)
    ]


def _assistant_text(render: Render, probe: _Probe) -> str:
    """Return what the template wrote for the turn with calls: the part that the conversation with text lacks."""
    with_calls = render(probe.with_calls, PROBE_TOOLS)
    with_text = render(probe.with_text, PROBE_TOOLS)
    n_before = _n_shared(with_calls, with_text)
    end = len(with_calls) - _n_shared(with_calls[n_before:][::-1], with_text[n_before:][::-1])
    # Cohere's `<|END_ACTION|>` and `<|END_RESPONSE|>` begin and end alike, but both belong to the turns.
    opening, closing = _MARKER_BEGIN.search(with_calls[:n_before]), _MARKER_END.match(with_calls, end)
    return with_calls[opening.start() if opening else n_before : closing.end() if closing else end]


def _n_shared(a: str, b: str) -> int:
    """Return the number of characters that both texts share at the beginning."""
    return next((i for i, (x, y) in enumerate(zip(a, b, strict=False)) if x != y), min(len(a), len(b)))


def _readings(turn: str, calls: tuple[Call, ...]) -> Iterator[_Reading]:
    for name in formats():
        fmt = get_format(name)
        parsed = fmt.parse(turn, tools=PROBE_TOOLS)
        found = [{"name": call.name, "arguments": call.arguments} for call in parsed.calls]
        if equal(found, [{"name": call.name, "arguments": call.arguments} for call in calls]):
            yield _Reading(fmt, parsed.content)


def _failure(turn: str, readings: Sequence[_Reading]) -> str:
    """Return why no format fits a turn; `readings` begins with the one that leaves the least."""
    if not turn:
        return "it writes nothing for a call"
    if not readings:
        return f"no format reads {_shorten(turn)!r}"
    return (
        f"{readings[0].fmt.name} reads the calls in {_shorten(turn)!r}, but does not explain "
        f"{_shorten(readings[0].left_over)!r}"
    )


def _shorten(text: str, *, n_characters: int = 120) -> str:
    return text if len(text) <= n_characters else f"{text[:n_characters]}…"


def _remedy() -> str:
    known = ", ".join(formats())
    return (
        "name the format with eval.tool_call_format, or set model.chat_template_path to a template that renders tool "
        f"calls in one of the known formats ({known})"
    )
