"""The sessions as Anthropic writes them: content blocks, and results in a user message."""

from typing import Any

from tests.layouts.samples.canonical import FERRY_SCHEMA, WEATHER_SCHEMA

_TOOLS = [
    {"name": "weather", "description": "Weather of a town", "input_schema": WEATHER_SCHEMA},
    {"name": "book_ferry", "description": "Book a ferry", "input_schema": FERRY_SCHEMA},
]


def _use(call_id: str, name: str, **arguments: Any) -> dict[str, Any]:
    return {"type": "tool_use", "id": call_id, "name": name, "input": arguments}


def _result(call_id: str, content: Any, **more: Any) -> dict[str, Any]:
    return {"type": "tool_result", "tool_use_id": call_id, "content": content, **more}


def _says(role: str, *content: Any) -> dict[str, Any]:
    return {"role": role, "content": content[0] if isinstance(content[0], str) else list(content)}


def _row(*messages: dict[str, Any], system: Any = "You help travellers.") -> dict[str, Any]:
    return {"system": system, "messages": list(messages), "tools": _TOOLS}


ANTHROPIC: list[dict[str, Any]] = [
    _row(
        _says("user", "Weather in Zürich and in Łódź?"),
        _says(
            "assistant",
            _use("call00000", "weather", city="Zürich"),
            _use("call00001", "weather", city="Łódź", days=2),
        ),
        _says(
            "user",
            _result("call00001", "snow"),
            _result("call00000", [{"type": "text", "text": "4 degrees, rain"}]),
        ),
        _says("assistant", {"type": "text", "text": "Rain in Zürich, snow in Łódź."}),
    ),
    _row(_says("user", "Hello!"), _says("assistant", "Hello. Where do you want to go?")),
    _row(
        _says("user", "Book the ferry to Hvar with two cars."),
        _says(
            "assistant",
            {"type": "text", "text": "One moment.", "citations": None},
            _use("call00000", "book_ferry", route="Split-Hvar", cars=["van", "truck"]),
        ),
        _says("user", _result("call00000", "error: no room for a truck", is_error=True)),
        _says("assistant", "There is no room for the truck. Only the van?"),
        system=[{"type": "text", "text": "You help travellers.", "cache_control": {"type": "ephemeral"}}],
    ),
    _row(
        _says("user", {"type": "text", "text": "天気は？ I don't know the town's “name”."}),
        _says("assistant", _use("call00000", "weather", city="San José 🌋 d'Ocoa")),
        _says("user", _result("call00000", "☀️ 31°")),
        _says("assistant", "晴れ ☀️, it's 31°."),
    ),
    _row(
        _says("user", "Ferry to Vis?"),
        _says("assistant", "With a window?"),
        _says("user", "Yes."),
        _says("assistant", _use("call00000", "book_ferry", route="Split-Vis", window=True)),
        _says("user", _result("call00000", "booked")),
        _says("assistant", "Booked."),
        _says("user", "And the weather there?"),
        _says("assistant", _use("call00001", "weather", city="Vis", days=1)),
        _says("user", _result("call00001", "sunny")),
        _says("assistant", "Sunny."),
    ),
]
