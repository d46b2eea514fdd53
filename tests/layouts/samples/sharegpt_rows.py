"""The sessions as ShareGPT writes them: `from` and `value`, calls and results as turns of their own."""

import json
from typing import Any

from tests.layouts.samples.canonical import FERRY, TOOLS, WEATHER


def turn(word: str, value: str) -> dict[str, Any]:
    return {"from": word, "value": value}


_SYSTEM = turn("system", "You help travellers.")

SHAREGPT: list[dict[str, Any]] = [
    {
        "id": "s1",
        "conversations": [
            _SYSTEM,
            turn("human", "Weather in Zürich and in Łódź?"),
            turn(
                "function_call",
                '[{"name": "weather", "arguments": {"city": "Zürich"}},'
                ' {"name": "weather", "arguments": {"city": "Łódź", "days": 2}}]',
            ),
            turn("observation", "4 degrees, rain"),
            turn("observation", "snow"),
            turn("gpt", "Rain in Zürich, snow in Łódź."),
        ],
        "tools": json.dumps([WEATHER, FERRY]),
    },
    {
        "id": "s2",
        "conversations": [_SYSTEM, turn("human", "Hello!"), turn("gpt", "Hello. Where do you want to go?")],
        "tools": list(TOOLS),
    },
    {
        "id": "s3",
        "conversations": [
            {"role": "system", "content": "You help travellers."},
            {"role": "user", "content": "Book the ferry to Hvar with two cars."},
            {"role": "assistant", "content": "One moment."},
            {
                "role": "function_call",
                "content": '{"name": "book_ferry", "arguments": {"route": "Split-Hvar", "cars": ["van", "truck"]}}',
            },
            {"role": "function_response", "content": "error: no room for a truck"},
            {"role": "assistant", "content": "There is no room for the truck. Only the van?"},
        ],
        "tools": json.dumps(TOOLS),
    },
    {
        "id": "s4",
        "conversations": [
            _SYSTEM,
            turn("user", "天気は？ I don't know the town's “name”."),
            turn("tool_call", "{'name': 'weather', 'arguments': {'city': 'San José 🌋 d\\'Ocoa'}}"),
            turn("tool_response", "☀️ 31°"),
            turn("gpt", "晴れ ☀️, it's 31°."),
        ],
        "tools": [json.dumps(WEATHER), json.dumps(FERRY)],
    },
    {
        "id": "s5",
        "conversations": [
            _SYSTEM,
            turn("human", "Ferry to Vis?"),
            turn("gpt", "With a window?"),
            turn("human", "Yes."),
            turn(
                "function_call",
                '{"name": "book_ferry", "arguments": "{\\"route\\": \\"Split-Vis\\", \\"window\\": true}"}',
            ),
            turn("tool", "booked"),
            turn("gpt", "Booked."),
            turn("human", "And the weather there?"),
            turn("function_call", '{"name": "weather", "arguments": {"city": "Vis", "days": 1}}'),
            turn("observation", "sunny"),
            turn("gpt", "Sunny."),
        ],
        "tools": json.dumps(TOOLS),
    },
]

# APIGen-MT: the same turns under their plainest words, the system prompt in a column.
_WORDS = {
    "user": "human", "assistant": "gpt", "tool_call": "function_call", "tool": "observation",
    "tool_response": "observation", "function_response": "observation",
}  # fmt: skip
APIGEN_MT: list[dict[str, Any]] = [
    {
        "conversations": [
            turn(_WORDS.get(word, word), message.get("value") or message["content"])
            for message in row["conversations"][1:]
            for word in [message.get("from") or message["role"]]
        ],
        "tools": json.dumps([WEATHER, FERRY]),
        "system": "You help travellers.",
    }
    for row in SHAREGPT
]
