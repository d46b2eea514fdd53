"""Read values that are written as Python literals or as JSON, without evaluating anything."""

import math
import re
from typing import Any

from trainer.values.json_reader import MAX_DEPTH, ValueRead

_SPACE = re.compile(r"\s*+")
_NUMBER = re.compile(r"[-+]?(?:\d++(?:\.\d*+)?|\.\d++)(?:[eE][-+]?\d++)?")
_WORD = re.compile(r"[A-Za-z]++")
_WORDS = {"True": True, "true": True, "False": False, "false": False, "None": None, "null": None}
_STRINGS = {quote: re.compile(rf"{quote}((?:[^{quote}\\]|\\.)*+){quote}", re.DOTALL) for quote in ("'", '"')}
_ESCAPE = re.compile(r"\\(x[0-9a-fA-F]{2}|u[0-9a-fA-F]{4}|U[0-9a-fA-F]{8}|.)", re.DOTALL)
_ESCAPED = {
    "n": "\n", "r": "\r", "t": "\t", "b": "\b", "f": "\f", "v": "\v", "a": "\a", "0": "\0",
    "\\": "\\", "'": "'", '"': '"', "\n": "",
}  # fmt: skip


class LiteralError(ValueError):
    """There is no literal here. `position` is how far the text was read. `cut` means that the text ended too early."""

    def __init__(self, position: int, *, cut: bool) -> None:
        super().__init__(f"no literal at {position}")
        self.position = position
        self.cut = cut


def read_literal(text: str, position: int) -> ValueRead:
    """Read a string, number, constant, list or dictionary (with string keys) after optional space.

    Strings have either kind of quote and Python's escapes. Constants have their Python or their JSON spelling.
    """
    try:
        value, end = _read(text, skip_blank(text, position), 0)
    except LiteralError as error:
        return ValueRead(None, error.position, "unclosed" if error.cut else "bad_arguments")
    return ValueRead(value, end, None)


def skip_blank(text: str, position: int) -> int:
    """Return the first position at or after `position` that is not white space."""
    match = _SPACE.match(text, position)
    return position if match is None else match.end()


def _read(text: str, position: int, depth: int) -> tuple[Any, int]:
    first = text[position : position + 1]
    if first in _STRINGS:
        return _read_string(text, position)
    if first in ("[", "{") and depth < MAX_DEPTH:
        return _read_list(text, position, depth) if first == "[" else _read_dict(text, position, depth)
    return read_number(text, position) or read_word(text, position)


def read_number(text: str, position: int) -> tuple[int | float, int] | None:
    """Return a number and where it ends, or None if there is none. Raises LiteralError if it is out of range."""
    match = _NUMBER.match(text, position)
    return None if match is None else (_to_number(match[0], position), match.end())


def read_word(text: str, position: int) -> tuple[bool | None, int]:
    """Return True, False or None, in Python or JSON spelling, and where the word ends. Raises LiteralError."""
    match = _WORD.match(text, position)
    if match is not None and match[0] in _WORDS:
        return _WORDS[match[0]], match.end()
    rest = text[position : position + 8]
    raise LiteralError(position, cut=not rest or (len(rest) < 6 and rest.isalpha()))


def _read_string(text: str, position: int) -> tuple[str, int]:
    match = _STRINGS[text[position]].match(text, position)
    if match is None:
        raise LiteralError(len(text), cut=True)
    return _unescape(match[1]), match.end()


def _unescape(text: str) -> str:
    if "\\" not in text:
        return text
    plain = _ESCAPE.sub(_character, text)
    if any("\ud800" <= character <= "\udfff" for character in plain):
        # JSON writes characters beyond the basic plane as a pair of escapes.
        plain = plain.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return plain


def _character(match: re.Match[str]) -> str:
    code = match[1]
    if code[0] in "xuU" and len(code) > 1:
        number = int(code[1:], 16)
        return chr(number) if number <= 0x10FFFF else match[0]
    return _ESCAPED.get(code, match[0])


def _to_number(digits: str, position: int) -> int | float:
    try:
        return int(digits)
    except ValueError:  # a fraction or an exponent, or more digits than Python converts
        number = float(digits)
    if not math.isfinite(number) or digits.lstrip("+-").isdigit():
        raise LiteralError(position, cut=False)
    return number


def _read_list(text: str, position: int, depth: int) -> tuple[list[Any], int]:
    values: list[Any] = []
    position = skip_blank(text, position + 1)
    while not text.startswith("]", position):
        value, position = _read(text, position, depth + 1)
        values.append(value)
        position = _next_item(text, position, "]")
    return values, position + 1


def _read_dict(text: str, position: int, depth: int) -> tuple[dict[str, Any], int]:
    values: dict[str, Any] = {}
    position = skip_blank(text, position + 1)
    while not text.startswith("}", position):
        key, position = _read(text, position, depth + 1)
        position = skip_blank(text, position)
        if not isinstance(key, str) or not text.startswith(":", position):
            raise LiteralError(position, cut=position >= len(text))
        values[key], position = _read(text, skip_blank(text, position + 1), depth + 1)
        position = _next_item(text, position, "}")
    return values, position + 1


def _next_item(text: str, position: int, closing: str) -> int:
    """Return the position after an item's comma, or that of the closing bracket."""
    position = skip_blank(text, position)
    if text.startswith(",", position):
        return skip_blank(text, position + 1)
    if not text.startswith(closing, position):
        raise LiteralError(position, cut=position >= len(text))
    return position
