"""Five conversations written by hand in canonical form; every layout's samples are the same ones in its own writing."""

from typing import Any


def call(number: int, name: str, **arguments: Any) -> dict[str, Any]:
    return {"id": f"call{number:05d}", "type": "function", "function": {"name": name, "arguments": arguments}}


def calls(*made: dict[str, Any], content: str = "") -> dict[str, Any]:
    return {"role": "assistant", "content": content, "tool_calls": list(made)}


def result(number: int, content: str) -> dict[str, Any]:
    return {"role": "tool", "content": content, "tool_call_id": f"call{number:05d}"}


def user(content: str) -> dict[str, Any]:
    return {"role": "user", "content": content}


def assistant(content: str) -> dict[str, Any]:
    return {"role": "assistant", "content": content}


WEATHER_SCHEMA = {
    "type": "object",
    "properties": {"city": {"type": "string", "description": "The town"}, "days": {"type": "integer"}},
    "required": ["city"],
}
FERRY_SCHEMA = {
    "type": "object",
    "properties": {
        "route": {"type": "string"},
        "cars": {"type": "array", "items": {"type": "string"}},
        "window": {"type": "boolean"},
    },
    "required": ["route"],
}
WEATHER = {"name": "weather", "description": "Weather of a town", "parameters": WEATHER_SCHEMA}
FERRY = {"name": "book_ferry", "description": "Book a ferry", "parameters": FERRY_SCHEMA}
TOOLS = ({"type": "function", "function": WEATHER}, {"type": "function", "function": FERRY})

SYSTEM = {"role": "system", "content": "You help travellers."}

PARALLEL = [
    SYSTEM,
    user("Weather in Zürich and in Łódź?"),
    calls(call(0, "weather", city="Zürich"), call(1, "weather", city="Łódź", days=2)),
    result(0, "4 degrees, rain"),
    result(1, "snow"),
    assistant("Rain in Zürich, snow in Łódź."),
]
NO_CALL = [SYSTEM, user("Hello!"), assistant("Hello. Where do you want to go?")]
TOOL_ERROR = [
    SYSTEM,
    user("Book the ferry to Hvar with two cars."),
    calls(call(0, "book_ferry", route="Split-Hvar", cars=["van", "truck"]), content="One moment."),
    result(0, "error: no room for a truck"),
    assistant("There is no room for the truck. Only the van?"),
]
UNICODE = [
    SYSTEM,
    user("天気は？ I don't know the town's “name”."),
    calls(call(0, "weather", city="San José 🌋 d'Ocoa")),
    result(0, "☀️ 31°"),
    assistant("晴れ ☀️, it's 31°."),
]
SEVERAL = [
    SYSTEM,
    user("Ferry to Vis?"),
    assistant("With a window?"),
    user("Yes."),
    calls(call(0, "book_ferry", route="Split-Vis", window=True)),
    result(0, "booked"),
    assistant("Booked."),
    user("And the weather there?"),
    calls(call(1, "weather", city="Vis", days=1)),
    result(1, "sunny"),
    assistant("Sunny."),
]
SESSIONS = (PARALLEL, NO_CALL, TOOL_ERROR, UNICODE, SEVERAL)
