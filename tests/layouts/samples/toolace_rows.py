"""The sessions as ToolACE writes them: a JSON list in the system prompt, calls like Python's, Python's type words."""

import json
from typing import Any

from tests.layouts.samples.canonical import FERRY, WEATHER
from tests.layouts.samples.sharegpt_rows import turn


def _typed(tool: dict[str, Any]) -> dict[str, Any]:
    return {**tool, "parameters": {**tool["parameters"], "type": "dict"}, "required": None}


SYSTEM = (
    "You help travellers.\nHere is a list of functions in JSON format that you can invoke:\n"
    f"{json.dumps([_typed(WEATHER), _typed(FERRY)])}. \n"
    "Should you decide to return the function call(s). \n"
    "Put it in the format of [func1(params_name=params_value, params_name2=params_value2...), func2(params)]\n\n"
    "NO other text MUST be included. "
)


def _row(*turns: dict[str, Any]) -> dict[str, Any]:
    return {"system": SYSTEM, "conversations": list(turns)}


def _results(*texts: str, name: str) -> dict[str, Any]:
    return turn("tool", json.dumps([{"name": name, "results": text} for text in texts]))


TOOLACE: list[dict[str, Any]] = [
    _row(
        turn("user", "Weather in Zürich and in Łódź?"),
        turn("assistant", '[weather(city="Zürich"), weather(city="Łódź", days=2)]'),
        _results("4 degrees, rain", "snow", name="weather"),
        turn("assistant", "Rain in Zürich, snow in Łódź."),
    ),
    _row(turn("user", "Hello!"), turn("assistant", "Hello. Where do you want to go?")),
    _row(
        turn("user", "Book the ferry to Hvar with two cars."),
        turn("assistant", "[book_ferry(route='Split-Hvar', cars=['van', 'truck'])]One moment."),
        turn("tool", "error: no room for a truck"),
        turn("assistant", "There is no room for the truck. Only the van?"),
    ),
    _row(
        turn("user", "天気は？ I don't know the town's “name”."),
        turn("assistant", '[weather(city="San José 🌋 d\'Ocoa")]'),
        _results("☀️ 31°", name="weather"),
        turn("assistant", "晴れ ☀️, it's 31°."),
    ),
    _row(
        turn("user", "Ferry to Vis?"),
        turn("assistant", "With a window?"),
        turn("user", "Yes."),
        turn("assistant", '[book_ferry(route="Split-Vis", window=True)]'),
        _results("booked", name="book_ferry"),
        turn("assistant", "Booked."),
        turn("user", "And the weather there?"),
        turn("assistant", '[weather(city="Vis", days=1)]'),
        _results("sunny", name="weather"),
        turn("assistant", "Sunny."),
    ),
]
