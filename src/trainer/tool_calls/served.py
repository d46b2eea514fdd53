"""Write attempted calls the way a server sends them: a name, and arguments as JSON text. Sends nothing."""

import json
import re
from typing import Any, NamedTuple

from trainer.types import ParsedCall
from trainer.values.json_reader import to_json

_HALF_CHARACTER = re.compile("[\ud800-\udfff]")


class ServedCall(NamedTuple):
    """The two texts of a call in `message.tool_calls`."""

    name: str
    arguments: str


def served_call(call: ParsedCall) -> ServedCall:
    """Return what an application receives for an attempted call.

    The arguments of a well-formed call are strict JSON. Those of any other attempt are its text, which no application
    can decode as an object; the name is empty if it cannot be read. So the application sees the failed attempt, and
    not raw markup in the content.

    >>> served_call(ParsedCall("ok", "…", 0, 1, "book", {"day": "Mon"}))
    ServedCall(name='book', arguments='{"day": "Mon"}')
    >>> served_call(ParsedCall("unclosed", '{"name": "boo', 0, 13))
    ServedCall(name='', arguments='{"name": "boo')
    """
    name = _HALF_CHARACTER.sub("\ufffd", call.name or "")
    if call.status == "ok":
        return ServedCall(name, _transportable(to_json(call.arguments)))
    return ServedCall(name, _transportable(to_json(call.raw) if _is_object(call.raw) else call.raw))


def _transportable(text: str) -> str:
    """Escape lone surrogates. JSON can express them, but no response can be encoded with them."""
    return _HALF_CHARACTER.sub(lambda half: f"\\u{ord(half[0]):04x}", text)


def _is_object(text: str) -> bool:
    """Return whether an application that is not strict could decode the text as a JSON object."""
    try:
        value: Any = json.loads(text, strict=False)
    except (ValueError, RecursionError):
        return False
    return isinstance(value, dict)
