"""The sessions as Hermes writes them: tools in the system prompt, calls and results between tags."""

import json
from typing import Any

from tests.layouts.samples.canonical import FERRY, TOOLS, WEATHER
from tests.layouts.samples.sharegpt_rows import turn

_LIST = json.dumps(TOOLS)
_LINES = f"{json.dumps(TOOLS[0])}\n{json.dumps(TOOLS[1])}"


def _system(tools: str) -> dict[str, Any]:
    return turn(
        "system",
        "You help travellers. You are provided with function signatures within <tools> </tools> XML tags. "
        f"Here are the available tools:\n<tools>\n{tools}\n</tools>\n"
        "Use the following pydantic model json schema for each tool call you will make: "
        "{'title': 'FunctionCall', 'type': 'object', 'properties': {'arguments': {'type': 'object'}}} "
        "For each function call return a json object with function name and arguments within "
        "<tool_call></tool_call> XML tags as follows:\n"
        '<tool_call>\n{"arguments": <args-dict>, "name": <function-name>}\n</tool_call>',
    )


def _response(name: str, content: str) -> str:
    return f"<tool_response>\n{json.dumps({'name': name, 'content': content})}\n</tool_response>"


HERMES: list[dict[str, Any]] = [
    {
        "id": "s1",
        "conversations": [
            _system(_LIST),
            turn("human", "Weather in Zürich and in Łódź?"),
            turn(
                "gpt",
                '<tool_call>\n{"arguments": {"city": "Zürich"}, "name": "weather"}\n</tool_call>\n'
                '<tool_call>\n{"name": "weather", "arguments": {"city": "Łódź", "days": 2}}\n</tool_call>',
            ),
            turn("tool", _response("weather", "4 degrees, rain") + "\n" + _response("weather", "snow")),
            turn("gpt", "Rain in Zürich, snow in Łódź."),
        ],
        "category": "Travel",
    },
    {
        "id": "s2",
        "conversations": [_system(_LINES), turn("human", "Hello!"), turn("gpt", "Hello. Where do you want to go?")],
        "category": "Talk",
    },
    {
        "id": "s3",
        "conversations": [
            _system(_LIST),
            turn("human", "Book the ferry to Hvar with two cars."),
            turn(
                "gpt",
                "One moment.\n<tool_call>\n"
                '{"name": "book_ferry", "arguments": {"route": "Split-Hvar", "cars": ["van", "truck"]}}\n</tool_call>',
            ),
            turn("tool", "<tool_response>\nerror: no room for a truck\n</tool_response>"),
            turn("gpt", "There is no room for the truck. Only the van?"),
        ],
        "tools": json.dumps([WEATHER, FERRY]),
        "category": "Travel",
    },
    {
        "id": "s4",
        "conversations": [
            _system(_LINES),
            turn("human", "天気は？ I don't know the town's “name”."),
            turn(
                "gpt", "<tool_call>\n{'name': 'weather', 'arguments': {'city': \"San José 🌋 d'Ocoa\"}}\n</tool_call>"
            ),
            turn("tool", "☀️ 31°"),
            turn("gpt", "晴れ ☀️, it's 31°."),
        ],
        "category": "Travel",
    },
    {
        "id": "s5",
        "conversations": [
            _system(_LIST),
            turn("human", "Ferry to Vis?"),
            turn("gpt", "With a window?"),
            turn("human", "Yes."),
            turn(
                "gpt",
                '<tool_call>\n{"name": "book_ferry", "arguments": {"route": "Split-Vis", "window": true}}\n'
                "</tool_call>",
            ),
            turn("tool", _response("book_ferry", "booked")),
            turn("gpt", "Booked."),
            turn("human", "And the weather there?"),
            turn("gpt", '<tool_call>\n{"name": "weather", "arguments": {"city": "Vis", "days": 1}}\n</tool_call>'),
            turn("tool", _response("weather", "sunny")),
            turn("gpt", "Sunny."),
        ],
        "category": "Travel",
    },
]
