"""Rows of one question and its calls, as xLAM and APIGen write them, and the same by hand in canonical form."""

import json
from typing import Any

from tests.layouts.samples.canonical import assistant, call, calls, user

_WEATHER = {
    "name": "weather",
    "description": "Weather of a town",
    "parameters": {
        "city": {"type": "str", "description": "The town"},
        "days": {"type": "int, optional", "description": "How many", "default": "3"},
    },
}
_FERRY = {
    "name": "book_ferry",
    "description": "Book a ferry",
    "parameters": {
        "route": {"type": "str", "description": "From and to"},
        "cars": {"type": "List[str], optional", "description": "Kinds of cars"},
        "window": {"type": "bool", "description": "By the window", "default": False},
        "extras": {"type": "Dict[str, float]", "description": "Prices", "required": False},
    },
}
_TOOLS = json.dumps([_WEATHER, _FERRY])

XLAM_TOOLS = (
    {
        "type": "function",
        "function": {
            "name": "weather",
            "description": "Weather of a town",
            "parameters": {
                "type": "object",
                "properties": {
                    "city": {"type": "string", "description": "The town"},
                    "days": {"type": "integer", "description": "How many", "default": 3},
                },
                "required": ["city"],
            },
        },
    },
    {
        "type": "function",
        "function": {
            "name": "book_ferry",
            "description": "Book a ferry",
            "parameters": {
                "type": "object",
                "properties": {
                    "route": {"type": "string", "description": "From and to"},
                    "cars": {"type": "array", "items": {"type": "string"}, "description": "Kinds of cars"},
                    "window": {"type": "boolean", "description": "By the window", "default": False},
                    "extras": {
                        "type": "object",
                        "additionalProperties": {"type": "number"},
                        "description": "Prices",
                    },
                },
                "required": ["route"],
            },
        },
    },
)

XLAM: list[dict[str, Any]] = [
    {
        "id": 0,
        "query": "Weather in Zürich and in Łódź?",
        "tools": _TOOLS,
        "answers": '[{"name": "weather", "arguments": {"city": "Zürich"}},'
        ' {"name": "weather", "arguments": {"city": "Łódź", "days": 2}}]',
    },
    {"id": 1, "query": "Hello!", "tools": [_WEATHER, _FERRY], "answers": "Hello. Where do you want to go?"},
    {
        "id": 2,
        "query": "Book the ferry to Hvar with two cars.",
        "tools": _TOOLS,
        "answers": [{"name": "book_ferry", "arguments": {"route": "Split-Hvar", "cars": ["van", "truck"]}}],
    },
    {
        "id": 3,
        "query": "天気は？ I don't know the town's “name”.",
        "tools": _TOOLS,
        "answers": json.dumps([{"name": "weather", "arguments": {"city": "San José 🌋 d'Ocoa"}}]),
    },
    {
        "id": 4,
        "query": "Ferry to Vis, and the weather there",
        "tools": [json.dumps(_WEATHER), json.dumps(_FERRY)],
        "answers": json.dumps(
            [
                {"name": "book_ferry", "arguments": '{"route": "Split-Vis", "window": true}'},
                {"name": "weather", "arguments": {"city": "Vis", "days": 1}},
            ]
        ),
    },
]
XLAM_SESSIONS: list[list[dict[str, Any]]] = [
    [
        user("Weather in Zürich and in Łódź?"),
        calls(call(0, "weather", city="Zürich"), call(1, "weather", city="Łódź", days=2)),
    ],
    [user("Hello!"), assistant("Hello. Where do you want to go?")],
    [
        user("Book the ferry to Hvar with two cars."),
        calls(call(0, "book_ferry", route="Split-Hvar", cars=["van", "truck"])),
    ],
    [user("天気は？ I don't know the town's “name”."), calls(call(0, "weather", city="San José 🌋 d'Ocoa"))],
    [
        user("Ferry to Vis, and the weather there"),
        calls(call(0, "book_ferry", route="Split-Vis", window=True), call(1, "weather", city="Vis", days=1)),
    ],
]
