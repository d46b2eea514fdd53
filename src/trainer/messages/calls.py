"""Read the calls of an assistant turn: call objects, their JSON text, and calls written as text. Knows no layout."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from trainer.errors import DataError
from trainer.tool_calls import ToolCallFormat
from trainer.tool_calls.readers import call_parts
from trainer.tool_calls.reasoning import MARKERS
from trainer.types import Call, ParsedCall, Tool, ToolCallJson
from trainer.values.places import check_keys, decoded, described, fail, is_json, take_list, take_object, whole_literal

_WRAPPED_KEYS = ("id", "type", "function", "index")
_FUNCTION_KEYS = ("name", "arguments")
_FLAT_KEYS = ("id", "type", "name", "arguments", "index")

_END_OF_REASONING = tuple(closing for _, closing in MARKERS)
PYTHON_CALL = "call written as a Python dictionary"


class ReadCalls(NamedTuple):
    """Calls in canonical form, which of them had a struct as arguments, and what was converted."""

    calls: list[ToolCallJson]
    structs: tuple[int, ...] = ()
    converted: tuple[str, ...] = ()


class ReadText(NamedTuple):
    """Text taken apart: what is outside the calls, and the calls."""

    content: str
    calls: list[ToolCallJson]
    converted: tuple[str, ...] = ()


def read_calls(value: Any, where: str, what: str = "tool_calls") -> ReadCalls:
    """The calls of a list of call objects, or of the JSON text of one. Null and "" are no calls."""
    if value is None or value == "":
        return ReadCalls([])
    from_text = isinstance(value, str)
    items = take_list(value, where, what)
    read = [read_call(item, f"{where}, {what} entry {index}", position=index) for index, item in enumerate(items)]
    structs = () if from_text else tuple(index for index, one in enumerate(read) if one.structs)
    notes = [note for one in read for note in one.converted]
    notes += [f"{what} written as JSON text"] if from_text else []
    return ReadCalls([call for one in read for call in one.calls], structs, tuple(notes))


def read_call(item: Any, where: str, *, position: int | None = None) -> ReadCalls:
    """One call: `{"id", "type", "function": {"name", "arguments"}}`, or the name and arguments without the wrapper."""
    if isinstance(item, str):
        item = decoded(item, where, "the call")
        read = read_call(item, where, position=position) if not isinstance(item, str) else None
        if read is None:
            fail(where, "the call is JSON text of text; write an object")
        return ReadCalls(read.calls, (), (*read.converted, "call written as JSON text"))
    call = take_object(item, where, "the call")
    is_wrapped = call.get("function") is not None
    check_keys(call, _WRAPPED_KEYS if is_wrapped else _FLAT_KEYS, where)
    function = take_object(call["function"], where, "function") if is_wrapped else call
    if is_wrapped:
        check_keys(function, _FUNCTION_KEYS, where)
    if call.get("type") not in (None, "", "function"):
        fail(where, f'type is {described(call["type"])}; allowed: "function"')
    if isinstance(call.get("index"), bool) or call.get("index") not in (None, position):
        fail(
            where, f"index is {described(call['index'])}, but the call has position {position}; put the calls in order"
        )
    name, call_id = function.get("name"), call.get("id")
    if not isinstance(name, str) or not name.strip():
        fail(where, f"the call's name is {described(name)}; it must be the name of a tool")
    if call_id is not None and not isinstance(call_id, str):
        fail(where, f"the call's id is {described(call_id)}; it must be text")
    arguments = read_arguments(function.get("arguments"), where, name)
    return ReadCalls([to_call(name, arguments, call_id or None)], (0,) if has_struct(function) else ())


def has_struct(function: Mapping[str, Any]) -> bool:
    """Whether arguments are an object rather than text, so that Arrow may have filled in nulls."""
    return isinstance(function.get("arguments"), Mapping)


def read_arguments(value: Any, where: str, name: str) -> dict[str, Any]:
    """A call's arguments as an object; none at all are an empty one."""
    what = f'arguments of the call to "{name:.60}"'
    if value is None or value == "":
        return {}
    if isinstance(value, str):
        value = decoded(value, where, what)
    if not isinstance(value, Mapping):
        fail(where, f"{what} are {described(value)}; they must be a JSON object")
    return dict(value)


def to_call(name: str, arguments: dict[str, Any], call_id: str | None = None) -> ToolCallJson:
    """A call in canonical form."""
    call: ToolCallJson = {"type": "function", "function": {"name": name, "arguments": arguments}}
    return {"id": call_id, **call} if call_id is not None else call


def read_json_calls(text: str, where: str, what: str) -> ReadCalls:
    """The calls of text that is one JSON call, or a list of them; Python's spelling of it is read and counted."""
    notes: tuple[str, ...] = ()
    try:
        value = decoded(text, where, what)
    except DataError:
        value, notes = whole_literal(text), (PYTHON_CALL,)
        if is_json(text) or not isinstance(value, list | dict):
            raise
    items = value if isinstance(value, list) else [value]
    if not items:
        fail(where, f"{what} is an empty list; write at least one call")
    read = read_calls(items, where, what)
    return ReadCalls(read.calls, (), (*notes, *read.converted))


def read_text_calls(fmt: ToolCallFormat, text: str, where: str, tools: Sequence[Tool] | None) -> ReadText:
    """The calls that are written in text in the format `fmt`, and the text around them."""
    parsed = fmt.parse(text, tools=tools or ())
    if parsed.calls and (stray := _stray_end(text, parsed.calls)):
        fail(where, f"{stray} stands in a turn with calls and closes nothing; open the reasoning at the turn's start")
    notes: list[str] = []
    calls = []
    for index, attempt in enumerate(parsed.calls):
        call = _python_call(attempt) if attempt.status == "invalid_json" else None
        if call is not None:
            notes.append(PYTHON_CALL)
        elif attempt.status != "ok" or attempt.name is None or attempt.arguments is None:
            fail(
                where, f"call {index} cannot be read as {fmt.name} ({attempt.status}): {attempt.raw[:80]!r}; correct it"
            )
        else:
            call = Call(attempt.name, attempt.arguments)
        calls.append(to_call(call.name, call.arguments))
    notes += ["call written as text"] * len(calls)
    return ReadText(parsed.content if calls else text, calls, tuple(notes))


def _stray_end(text: str, calls: Sequence[ParsedCall]) -> str | None:
    """A tag that ends reasoning outside the calls: the parser would take the text before it for a draft."""
    starts = [0, *(call.end for call in calls)]
    ends = [*(call.start for call in calls), len(text)]
    outside = "\n".join(text[start:end] for start, end in zip(starts, ends, strict=True))
    return next((tag for tag in _END_OF_REASONING if tag in outside), None)


def _python_call(attempt: ParsedCall) -> Call | None:
    """The call between two markers, if it is written as a Python dictionary."""
    body = attempt.raw.partition(">")[2].rpartition("</")[0]
    parts = call_parts(whole_literal(body))
    return Call(parts.name, parts.arguments) if parts.name and parts.arguments is not None else None
