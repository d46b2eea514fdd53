"""The sessions in OpenAI form: plain, as JSON text, for fine-tuning, and with the older functions."""

import json
from typing import Any

from tests.layouts.samples.canonical import FERRY, NO_CALL, SEVERAL, TOOLS, WEATHER

_SYSTEM = {"role": "system", "content": "You help travellers."}


def _call(call_id: str, name: str, arguments: str) -> dict[str, Any]:
    return {"id": call_id, "type": "function", "function": {"name": name, "arguments": arguments}}


OPENAI: list[dict[str, Any]] = [
    {
        "id": "s1",
        "messages": [
            {"role": "developer", "content": "You help travellers."},
            {"role": "user", "content": [{"type": "text", "text": "Weather in Zürich and in Łódź?"}]},
            {
                "role": "assistant",
                "content": None,
                "refusal": None,
                "annotations": None,
                "tool_calls": [
                    _call("call00000", "weather", '{"city": "Zürich"}'),
                    _call("call00001", "weather", '{"city": "Łódź", "days": 2}'),
                ],
            },
            {"role": "tool", "tool_call_id": "call00001", "content": "snow"},
            {"role": "tool", "tool_call_id": "call00000", "content": "4 degrees, rain"},
            {"role": "assistant", "content": "Rain in Zürich, snow in Łódź."},
        ],
        "tools": list(TOOLS),
        "parallel_tool_calls": True,
    },
    {"id": "s2", "messages": json.dumps(NO_CALL), "tools": json.dumps(TOOLS), "parallel_tool_calls": False},
    {
        "id": "s3",
        "messages": [
            _SYSTEM,
            {"role": "user", "content": "Book the ferry to Hvar with two cars."},
            {
                "role": "assistant",
                "content": "One moment.",
                "function_call": {
                    "name": "book_ferry",
                    "arguments": '{"route": "Split-Hvar", "cars": ["van", "truck"]}',
                },
            },
            {"role": "function", "name": "book_ferry", "content": "error: no room for a truck"},
            {"role": "assistant", "content": "There is no room for the truck. Only the van?", "weight": 1},
        ],
        "functions": [WEATHER, FERRY],
    },
    {
        "id": "s4",
        "messages": [
            _SYSTEM,
            {"role": "user", "content": "天気は？ I don't know the town's “name”.", "weight": 0},
            {
                "role": "assistant",
                "tool_calls": json.dumps(
                    [{"function": {"name": "weather", "arguments": {"city": "San José 🌋 d'Ocoa"}}}]
                ),
            },
            {"role": "tool", "tool_call_id": "call00000", "content": "☀️ 31°"},
            {"role": "assistant", "content": "", "refusal": "晴れ ☀️, it's 31°."},
        ],
        "tools": [WEATHER, {"type": "function", **FERRY}],
    },
    {"id": "s5", "messages": SEVERAL, "tools": list(TOOLS)},
]

PROJECT: list[dict[str, Any]] = [
    {
        "session_id": row["id"],
        "inferred_date": "2025-03-14",
        "conversation": row["messages"],
        "tools": row.get("tools") or row["functions"],
    }
    for row in OPENAI
]
