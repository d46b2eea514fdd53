"""Kinds of damaged rows: the layout, the row, and words that the error must have."""

import json
from typing import Any, NamedTuple

from tests.layouts.samples.canonical import TOOLS, WEATHER, call, calls, result, user
from tests.layouts.samples.sharegpt_rows import turn
from tests.layouts.samples.toolace_rows import SYSTEM


class Damaged(NamedTuple):
    """A row that must be refused. `expected` are parts of the message."""

    kind: str
    layout: str
    row: Any
    expected: tuple[str, ...]


def openai(kind: str, *messages: Any, expected: tuple[str, ...], **columns: Any) -> Damaged:
    return Damaged(kind, "openai", {"messages": list(messages), "tools": list(TOOLS), **columns}, expected)


def sharegpt(kind: str, *turns: Any, expected: tuple[str, ...], **columns: Any) -> Damaged:
    return Damaged(kind, "sharegpt", {"conversations": list(turns), **columns}, expected)


def row(kind: str, layout: str, expected: tuple[str, ...], **columns: Any) -> Damaged:
    return Damaged(kind, layout, columns, expected)


HI = user("Hi")
ASK = calls(call(0, "weather", city="Vis"))
TWO = calls(call(0, "weather", city="Vis"), call(1, "book_ferry", route="A-B"))
SAID = {"role": "assistant", "content": "Ok."}


def said(**keys: Any) -> dict[str, Any]:
    return {"role": "assistant", "content": "Ok.", **keys}


def asked(*entries: Any) -> dict[str, Any]:
    return {"role": "assistant", "content": None, "tool_calls": list(entries)}


def function(**keys: Any) -> dict[str, Any]:
    return {"id": "c", "type": "function", "function": {"name": "weather", "arguments": "{}", **keys}}


STRUCTURE = (
    Damaged("row is a list", "openai", [1], ("the row is a list of 1",)),
    row("no conversation column", "openai", ("column messages", "is missing", "text"), text="Hi"),
    row("conversation null", "project", ("column conversation", "is null"), session_id="a", conversation=None),
    row("conversation a number", "openai", ("the number 7", "must be a list"), messages=7),
    row("conversation broken JSON", "openai", ("not JSON", "character 21"), messages='[{"role": "user", "co'),
    row("conversation JSON of an object", "project", ("an object with the keys role",), conversation='{"role": 1}'),
    openai("no turns", expected=("no turns",)),
    openai("null among the messages", HI, None, expected=("turn 1", "null", "object")),
    openai("text among the messages", "Hi", expected=("turn 0", "the text 'Hi'")),
    openai("role missing", {"content": "Hi"}, expected=("turn 0", "role is null", "known: ")),
    openai("role misspelt", {"role": "asistant", "content": "x"}, expected=("turn 0", "did you mean assistant?")),
    openai("role a number", {"role": 3, "content": "x"}, expected=("turn 0", "role is the number 3")),
    openai("unknown key", HI, said(contents="x"), expected=("turn 1", '"contents"', "did you mean content?")),
    openai("another unknown key", HI, said(toolcalls=[]), expected=("turn 1", '"toolcalls"', "tool_calls")),
    openai("user content null", {"role": "user", "content": None}, expected=("turn 0", "content is null")),
    openai("user content blank", {"role": "user", "content": "  "}, expected=("turn 0", "blank", "remove the turn")),
    openai("content a number", HI, {"role": "assistant", "content": 4.5}, expected=("turn 1", "the number 4.5")),
    openai("content an object", HI, {"role": "assistant", "content": {"a": 1}}, expected=("turn 1", "object")),
    openai("image part", {"role": "user", "content": [{"type": "image_url"}]}, expected=("part 0", "image_url")),
    openai("text part without text", {"role": "user", "content": [{"type": "text"}]}, expected=("part 0", "is null")),
    openai("empty answer", HI, {"role": "assistant", "content": ""}, expected=("turn 1", "says nothing")),
    openai("blank answer", HI, {"role": "assistant", "content": " \n"}, expected=("turn 1", "says nothing")),
    openai("refusal beside content", HI, said(refusal="No."), expected=("turn 1", "both content and a refusal")),
    openai("two reasonings", HI, said(reasoning="a", thinking="b"), expected=("turn 1", "reasoning and thinking")),
    openai("reasoning a number", HI, said(reasoning=1), expected=("turn 1", "reasoning is the number 1")),
    openai("reasoning on a user", {**HI, "reasoning": "x"}, expected=("turn 0", "reasoning is on a user message")),
    openai("train a word", HI, said(train="no"), expected=("turn 1", "train is the text 'no'", "true, false")),
    openai("weight one half", HI, said(weight=0.5), expected=("turn 1", "weight is the number 0.5", "0 (context")),
    openai("session id a list", HI, SAID, id=[1], expected=("column id", "session id is a list")),
    openai("date a number", HI, SAID, date=5, expected=("column date", "the number 5")),
    openai("two system prompts", {"role": "system", "content": "A"}, HI, SAID, system="B",
           expected=("turn 0", "column system has another")),
)  # fmt: skip

CALLS = (
    openai("calls on a user", {**HI, "tool_calls": [function()]}, expected=("turn 0", "tool_calls is on a user")),
    openai("result id on a user", {**HI, "tool_call_id": "c"}, expected=("turn 0", "tool_call_id is on a user")),
    openai("null among the calls", HI, asked(None), expected=("turn 1, tool_calls entry 0", "null")),
    openai("calls an object", HI, {"role": "assistant", "tool_calls": {"a": 1}}, expected=("turn 1", "must be a list")),
    openai("calls broken JSON", HI, {"role": "assistant", "tool_calls": "[{"}, expected=("turn 1", "not JSON")),
    openai("unknown key of a call", HI, asked({**function(), "tool": "x"}), expected=("entry 0", '"tool"')),
    openai("unknown key of a function", HI, asked(function(argumens="{}")), expected=('"argumens"', "arguments?")),
    openai("call without a name", HI, asked(function(name=None)), expected=("entry 0", "name is null")),
    openai("call of another type", HI, asked({**function(), "type": "custom"}), expected=("entry 0", "'custom'")),
    openai("call id a number", HI, asked({**function(), "id": 7}), expected=("entry 0", "id is the number 7")),
    openai("call index wrong", HI, asked({**function(), "index": 4}), expected=("entry 0", "position 0")),
    openai("arguments broken", HI, asked(function(arguments='{"a": ')), expected=('"weather"', "not JSON")),
    openai("arguments NaN", HI, asked(function(arguments='{"a": NaN}')), expected=('"weather"', "not JSON")),
    openai("arguments a list", HI, asked(function(arguments="[1]")), expected=("a list of 1", "JSON object")),
    openai("arguments encoded twice", HI, asked(function(arguments='"{}"')), expected=("the text '{}'", "object")),
    openai("both kinds of calls", HI, {**asked(function()), "function_call": {"name": "f"}}, expected=("both",)),
    openai("two calls one id", HI, asked(function(), function()), expected=("turn 1", 'the id "c"')),
    openai("required argument null", HI, asked(function(arguments={"city": None, "cars": None})),
           expected=("turn 1, call 0", '"city" is null')),
    openai("result before any call", HI, result(0, "x"), SAID, expected=("turn 1", "answers no call")),
    openai("result after talk", HI, SAID, result(0, "x"), expected=("turn 2", "answers no call")),
    openai("one result too many", HI, ASK, result(0, "x"), {"role": "tool", "content": "y"},
           expected=("turn 3", "1 calls and 2 results")),
    openai("two results one id", HI, ASK, result(0, "x"), result(0, "y"), expected=("turn 3", "second result")),
    openai("unknown result id", HI, ASK, result(9, "x"),
           expected=("turn 2", '"call00009" matches no call', "call00000")),
    openai("one of two missing", HI, TWO, result(0, "x"), SAID, expected=("turn 1", 'call 1 to "book_ferry"')),
    openai("results missing", HI, ASK, SAID, expected=("turn 1", 'call 0 to "weather"', "no result")),
    openai("which of two", HI, TWO, {"role": "tool", "content": "x"}, SAID, expected=("turn 2", "uncertain")),
    openai("result of another name", HI, ASK, {"role": "tool", "name": "nope", "content": "x"},
           expected=("turn 2", '"nope"', "weather")),
    openai("result content null", HI, ASK, {"role": "tool", "content": None}, expected=("turn 2", "content is null")),
)  # fmt: skip

TOOL_LISTS = (
    openai("tools broken JSON", HI, SAID, tools="[", expected=("column tools", "not JSON")),
    openai("tools a number", HI, SAID, tools=3, expected=("column tools", "the number 3")),
    openai("null among the tools", HI, SAID, tools=[None], expected=("tool 0", "null")),
    openai("tool without a name", HI, SAID, tools=[{"function": {"parameters": {}}}], expected=("name is null",)),
    openai("two tools of one name", HI, SAID, tools=[WEATHER, WEATHER], expected=("two tools", "weather")),
    openai("parameters a list", HI, SAID, tools=[{"name": "f", "parameters": []}], expected=("(f)", "a list of 0")),
    openai("tools twice", HI, SAID, functions=[WEATHER], expected=("column functions", "column tools")),
    row("unknown flat type", "xlam", ('parameter "a"', "Callable"), query="q", answers="x",
        tools=[{"name": "f", "parameters": {"a": {"type": "Callable[[int], int]"}}}]),
    row("unknown flat key", "xlam", ('parameter "a"', '"typ"', "type?"), query="q", answers="x",
        tools=[{"name": "f", "parameters": {"a": {"typ": "int"}}}]),
)  # fmt: skip

OTHERS = (
    sharegpt("unknown speaker", turn("humann", "Hi"), expected=("turn 0", "from is the text 'humann'", "human?")),
    sharegpt("value null", {"from": "human", "value": None}, expected=("turn 0", "value is null")),
    sharegpt("call is prose", turn("human", "Hi"), turn("function_call", "call it"), expected=("turn 1", "not JSON")),
    sharegpt("no calls in a list", turn("human", "Hi"), turn("function_call", "[]"), expected=("turn 1", "empty list")),
    sharegpt("call twice", turn("human", "Hi"), {**turn("function_call", '{"name": "f"}'), "tool_calls": [function()]},
             expected=("turn 1", "another key")),
    sharegpt("system twice", turn("system", "A"), turn("human", "Hi"), system="B", expected=("turn 0", "another one")),
    row("no answers", "xlam", ("column answers", "is null"), query="q", answers=None),
    row("blank question", "xlam", ("column query", "blank"), query=" ", answers="x"),
    row("answers a number", "xlam", ("column answers", "the number 4"), query="q", answers=4),
    row("answers broken", "xlam", ("column answers", "not JSON"), query="q", answers='[{"name": "f", '),
    row("hermes call broken", "hermes", ("turn 0", "invalid_json"),
        conversations=[turn("gpt", '<tool_call>\n{"name": "f", }\n</tool_call>')]),
    row("hermes call open", "hermes", ("turn 0", "unclosed"),
        conversations=[turn("gpt", '<tool_call>\n{"name": "f", "arguments": {}}')]),
    row("hermes call without arguments", "hermes", ("turn 0", "bad_arguments"),
        conversations=[turn("gpt", '<tool_call>{"name": "f"}</tool_call>')]),
    row("hermes result open", "hermes", ("turn 0", "not closed"), conversations=[turn("tool", "<tool_response>x")]),
    row("hermes text beside results", "hermes", ("turn 0", "outside"),
        conversations=[turn("tool", "See <tool_response>x</tool_response>")]),
    row("hermes tools open", "hermes", ("turn 0", "<tools> is not closed"), conversations=[turn("system", "<tools>[")]),
    row("hermes tools broken", "hermes", ("turn 0", "not JSON"), conversations=[turn("system", "<tools>[{]</tools>")]),
    row("hermes tools differ", "hermes", ("turn 0", "weather", "f"), tools=[{"name": "f"}],
        conversations=[turn("system", f"<tools>{json.dumps(WEATHER)}</tools>")]),
    row("hermes call in open reasoning", "hermes", ("turn 0", "</think>"),
        conversations=[turn("gpt", '<think>a <tool_call>{"name": "f", "arguments": {}}</tool_call>')]),
    row("hermes reasoning that was never opened", "hermes", ("turn 0", "</think>", "closes nothing"),
        conversations=[turn("gpt", 'I see.</think><tool_call>{"name": "f", "arguments": {}}</tool_call>')]),
    row("toolace call broken", "toolace", ("turn 0", "pythonic"), system=SYSTEM,
        conversations=[turn("assistant", "[weather(city=)]")]),
    row("toolace call by position", "toolace", ("turn 0", "pythonic"), system=SYSTEM,
        conversations=[turn("assistant", '[weather("Vis")]')]),
    row("toolace unknown name with blanks", "toolace", ("turn 0", "cannot be read"), system=SYSTEM,
        conversations=[turn("assistant", '[The Weather(city="Vis")]')]),
    row("glaive without turns", "glaive", ("column chat", "USER:"), chat="Hi there"),
    row("glaive text before the turns", "glaive", ("column chat", "before the first turn"), chat="x\nUSER: Hi"),
    row("glaive call broken", "glaive", ("turn 0, call 0", "not a call"), chat="ASSISTANT: <functioncall> weather()"),
    row("glaive call by the user", "glaive", ("turn 0", "USER turn"), chat='USER: <functioncall> {"name": "f"}'),
    row("glaive silent answer", "glaive", ("turn 1", "says nothing"), chat="USER: a\nASSISTANT: <|endoftext|>"),
    row("glaive goes on", "glaive", ("turn 1", "<|endoftext|>"), chat="USER: a\nASSISTANT: b <|endoftext|> c"),
    row("anthropic unknown block", "anthropic", ("turn 0, block 0", "image", "tool_result"),
        messages=[{"role": "user", "content": [{"type": "image"}]}]),
    row("anthropic call by the user", "anthropic", ("turn 0, block 0", "tool_use"),
        messages=[{"role": "user", "content": [{"type": "tool_use", "name": "f", "input": {}}]}]),
    row("anthropic text after a call", "anthropic", ("turn 0, block 1", "text comes after tool_use"),
        messages=[{"role": "assistant", "content": [{"type": "tool_use", "name": "f"}, {"type": "text"}]}]),
    row("anthropic result after text", "anthropic", ("turn 0, block 1", "results come first"),
        messages=[{"role": "user", "content": [{"type": "text", "text": "x"}, {"type": "tool_result"}]}]),
    row("anthropic unknown key", "anthropic", ("turn 0, block 0", '"tool_use_i"', "tool_use_id"),
        messages=[{"role": "user", "content": [{"type": "tool_result", "tool_use_i": "x"}]}]),
    row("anthropic input a list", "anthropic", ("turn 0, tool_use 0", "a list of 0"),
        messages=[{"role": "assistant", "content": [{"type": "tool_use", "name": "f", "input": []}]}]),
    row("anthropic content null", "anthropic", ("turn 0", "null"), messages=[{"role": "user", "content": None}]),
)  # fmt: skip

DAMAGED = (*STRUCTURE, *CALLS, *TOOL_LISTS, *OTHERS)
