"""Sample conversations that cover the shapes of tool-calling data. Chat templates are tested with them."""

from trainer.types import Message, Session, Tool, ToolCallJson


def _tool(name: str, **properties: str) -> Tool:
    schema = {key: {"type": kind, "description": f"The {key}"} for key, kind in properties.items()}
    parameters = {"type": "object", "properties": schema, "required": list(schema)[:1]}
    return {
        "type": "function",
        "function": {"name": name, "description": f"Does {name}.", "parameters": parameters},
    }


def _call(number: int, name: str, arguments: str) -> ToolCallJson:
    # Ids have nine letters and digits, the only form that every model family accepts.
    return {"id": f"call{number:05d}", "type": "function", "function": {"name": name, "arguments": arguments}}


def _result(number: int, text: str) -> Message:
    return {"role": "tool", "tool_call_id": f"call{number:05d}", "content": text}


def _assistant(text: str | None = None, *calls: ToolCallJson, reasoning: str | None = None) -> Message:
    message: Message = {"role": "assistant", "content": text}
    if calls:
        message["tool_calls"] = list(calls)
    if reasoning:
        message["reasoning_content"] = reasoning
    return message


def _user(text: str) -> Message:
    return {"role": "user", "content": text}


TOOLS = (_tool("find_car", brand="string", max_price="number"), _tool("book_visit", day="string"))
SYSTEM: Message = {"role": "system", "content": "You help at a dealership.\n\nBe brief."}
FIND = '{"brand": "Škoda", "max_price": 20000}'
FIND_NESTED = '{"brand": "Audi \\"A4\\"", "filters": {"tags": ["new", null], "rate": 1.5, "ok": true}}'

SAMPLES: tuple[Session, ...] = (
    Session("no calls", (_user("Hi"), _assistant("Hello!"), _user("Bye"), _assistant("Goodbye.")), ()),
    Session(
        "no calls, with a system message",
        (SYSTEM, _user("Hi"), _assistant("Hello!"), _user("Ok"), _assistant("Fine")),
        (),
    ),
    Session("no calls, with tools", (SYSTEM, _user("Hi"), _assistant("Hello!")), TOOLS),
    Session(
        "call, result, answer",
        (
            _user("A Škoda?"),
            _assistant(None, _call(1, "find_car", FIND)),
            _result(1, "[]"),
            _assistant("None."),
        ),
        TOOLS,
    ),
    Session(
        "two rounds",
        (
            SYSTEM,
            _user("A Škoda?"),
            _assistant(None, _call(1, "find_car", FIND)),
            _result(1, '{"cars": [{"id": 1}]}'),
            _assistant("One is here."),
            _user("Book it for Monday."),
            _assistant("", _call(2, "book_visit", '{"day": "Monday"}')),
            _result(2, "ok"),
            _assistant("Done. 🚗"),
        ),
        TOOLS,
    ),
    Session(
        "chained calls",
        (
            _user("Find an Audi and book a visit."),
            _assistant(None, _call(1, "find_car", FIND_NESTED)),
            _result(1, "found"),
            _assistant(None, _call(2, "book_visit", '{"day": "Friday"}')),
            _result(2, "ok"),
            _assistant("Booked."),
        ),
        TOOLS,
    ),
    Session(
        "parallel calls",
        (
            _user("Both, please."),
            _assistant(None, _call(1, "find_car", FIND), _call(2, "book_visit", '{"day": "Friday"}')),
            _result(1, "found"),
            _result(2, "ok"),
            _assistant("Both done."),
        ),
        TOOLS,
    ),
    Session(
        "content with a call",
        (
            _user("A Škoda?"),
            _assistant("Let me look.", _call(1, "find_car", FIND)),
            _result(1, "[]"),
            _assistant("None."),
        ),
        TOOLS,
    ),
    Session(
        "reasoning",
        (
            _user("A Škoda?"),
            _assistant("Which model?", reasoning="The model is missing."),
            _user("Octavia"),
            _assistant(None, _call(1, "find_car", FIND), reasoning="Now I can search."),
            _result(1, "[]"),
            _assistant("None.", reasoning="Nothing came back."),
        ),
        TOOLS,
    ),
    Session(
        "an untrained turn",
        (_user("Hi"), {**_assistant("Whatever."), "train": False}, _user("Sorry?"), _assistant("Hello!")),
        (),
    ),
    Session(
        "awkward text",
        (
            _user("\n\n  spaces \t and\r\nlines  "),
            _assistant("\n\n  It has spaces, too.  \n"),
            _user('{"json": [1, 2]} and </think> and <tool_response>x</tool_response>'),
            _assistant("日本語 naïve \u200b 👩‍👩‍👧 end"),
            _user(""),
            _assistant("."),
        ),
        (),
    ),
)
