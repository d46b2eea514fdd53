"""The sessions as Glaive writes them: one text per conversation."""

import json
from typing import Any

from tests.layouts.samples.canonical import FERRY, WEATHER

_SYSTEM = f"SYSTEM: You help travellers.\n{json.dumps(WEATHER, indent=4)}\n\n{json.dumps(FERRY, indent=4)}\n"


def _row(chat: str) -> dict[str, Any]:
    return {"system": _SYSTEM, "chat": chat}


GLAIVE: list[dict[str, Any]] = [
    _row(
        "USER: Weather in Zürich and in Łódź?\n\n\n"
        'ASSISTANT: <functioncall> {"name": "weather", "arguments": \'{"city": "Zürich"}\'} '
        '<functioncall> {"name": "weather", "arguments": \'{"city": "Łódź", "days": 2}\'} <|endoftext|>\n\n\n'
        "FUNCTION RESPONSE: 4 degrees, rain\n\n\nFUNCTION RESPONSE: snow\n\n\n"
        "ASSISTANT: Rain in Zürich, snow in Łódź. <|endoftext|>\n\n\n"
    ),
    _row("USER: Hello!\n\n\nASSISTANT: Hello. Where do you want to go? <|endoftext|>"),
    _row(
        "USER: Book the ferry to Hvar with two cars.\n\n\nASSISTANT: One moment. <|endoftext|>\n\n\n"
        'ASSISTANT: <functioncall> {"name": "book_ferry", "arguments": '
        '{"route": "Split-Hvar", "cars": ["van", "truck"]}} <|endoftext|>\n\n\n'
        "FUNCTION RESPONSE: error: no room for a truck\n\n\n"
        "ASSISTANT: There is no room for the truck. Only the van? <|endoftext|>"
    ),
    _row(
        "USER: 天気は？ I don't know the town's “name”.\n\n\n"
        'ASSISTANT: <functioncall> {"name": "weather", "arguments": \'{"city": "San José 🌋 d\'Ocoa"}\'} '
        "<|endoftext|>\n\n"
        "FUNCTION RESPONSE: ☀️ 31°\n\n\nASSISTANT: 晴れ ☀️, it's 31°. <|endoftext|>\n"
    ),
    _row(
        "USER: Ferry to Vis?\n\n\nASSISTANT: With a window? <|endoftext|>\n\n\nUSER: Yes.\n\n\n"
        "ASSISTANT: <functioncall> {'name': 'book_ferry', 'arguments': {'route': 'Split-Vis', 'window': True}} "
        "<|endoftext|>\n\n\nFUNCTION RESPONSE: booked\n\n\nASSISTANT: Booked. <|endoftext|>\n\n\n"
        "USER: And the weather there?\n\n\n"
        'ASSISTANT: <functioncall> {"name": "weather", "arguments": "{\\"city\\": \\"Vis\\", \\"days\\": 1}"} '
        "<|endoftext|>\n"
        "FUNCTION RESPONSE: sunny\nASSISTANT: Sunny."
    ),
]
