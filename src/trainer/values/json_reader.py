"""Read JSON at a position of a text, strictly and in linear time. Knows no tool call."""

import json
import math
import re
from collections import Counter
from typing import Any, NamedTuple

from trainer.types import CallStatus

MAX_DEPTH = 64
"""Deeper nesting is refused: no tool takes it, and it would exhaust the stack of a recursive reader."""

_WINDOW = 2048
_NEAR_END = 16
"""An error this close to the end of a window may come from the window itself, which can cut a literal or an escape."""

_SPACE = re.compile(r"[ \t\r\n]*")
# The possible rests of a JSON token that the token limit cut in two: `tru`, `-`, `1e`, `\u00`.
_CUT_TOKEN = re.compile(r"[\w.+\\-]{0,12}\s*")


def skip_space(text: str, position: int) -> int:
    """Return the first position at or after `position` that is not JSON white space."""
    match = _SPACE.match(text, position)
    return position if match is None else match.end()


class ValueRead(NamedTuple):
    """A value read at a position. `failure` distinguishes broken text from text that ends too early."""

    value: Any
    end: int
    failure: CallStatus | None


def read_json(text: str, position: int) -> ValueRead:
    """Read one strict JSON value (RFC 8259: no NaN, no raw line breaks in strings) after optional space."""
    begin = skip_space(text, position)
    # For every error the decoder counts the lines before it. Over many errors that takes quadratic time. So it
    # gets a window of the text, and a larger one only if the value reaches the end of the window.
    size = _WINDOW
    while True:
        read = _read_window(text[begin : begin + size])
        if begin + size >= len(text) or size - read.end > _NEAR_END:
            break
        size *= 4
    return ValueRead(read.value, begin + read.end, read.failure)


def _read_window(text: str) -> ValueRead:
    try:
        value, end = _DECODER.raw_decode(text)
    except json.JSONDecodeError as error:
        is_open = error.msg.startswith("Unterminated string")
        is_cut = is_open or _CUT_TOKEN.fullmatch(text, error.pos)
        return ValueRead(None, len(text) if is_open else error.pos, "unclosed" if is_cut else "invalid_json")
    except (ValueError, RecursionError):  # NaN, 1e999, an integer of 5,000 digits; endless brackets
        return ValueRead(None, 0, "invalid_json")
    if _is_too_deep(value, text[:end]):
        return ValueRead(None, 0, "invalid_json")
    return ValueRead(value, end, None)


def _is_too_deep(value: Any, text: str) -> bool:
    if text.count("{") + text.count("[") <= MAX_DEPTH:
        return False
    level = [value]
    for _ in range(MAX_DEPTH + 1):
        inner: list[Any] = []
        for item in level:
            if isinstance(item, dict):
                inner.extend(item.values())
            elif isinstance(item, list):
                inner.extend(item)
        if not inner:
            return False
        level = inner
    return True


def _refuse_constant(word: str) -> Any:
    raise ValueError(f"{word} is not JSON")


def _finite(digits: str) -> float:
    number = float(digits)
    if not math.isfinite(number):
        raise ValueError(f"{digits} is out of range")
    return number


def _short_int(digits: str) -> int:
    try:
        return int(digits)
    except ValueError:
        raise ValueError(f"a number has {len(digits)} digits, which is out of range") from None


def _without_repeats(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(pairs)
    if len(value) < len(pairs):
        repeated = next(key for key, n in Counter(key for key, _ in pairs).items() if n > 1)
        raise ValueError(f'the key "{repeated:.60}" appears twice in one object')
    return value


_DECODER = json.JSONDecoder(parse_constant=_refuse_constant, parse_float=_finite)
_FILE_DECODER = json.JSONDecoder(
    parse_constant=_refuse_constant, parse_float=_finite, parse_int=_short_int, object_pairs_hook=_without_repeats
)


def load_json(text: str) -> Any:
    """Return the value of JSON text from a file: strict, with every key of an object once.

    Raises ValueError with the reason, RecursionError if it is nested too deeply.
    """
    return _FILE_DECODER.decode(text)


def to_json(value: Any) -> str:
    """Return JSON text without needless escapes, as chat templates write it."""
    return json.dumps(value, ensure_ascii=False)
