"""Take values out of a row, or refuse them with their place. Knows no layout."""

import datetime
import difflib
import json
from collections.abc import Collection, Mapping, Sequence
from typing import Any, NoReturn

from trainer.errors import DataError
from trainer.values.json_reader import MAX_DEPTH, ValueRead, load_json, read_json, skip_space
from trainer.values.literals import read_literal, skip_blank

_MOST_SHOWN = 80  # characters of a value in a message
HALF_CHARACTER = "half a character (one of a surrogate pair); write all of it, or remove it"
_LONGEST_KEY = 60  # comparing longer keys with the known ones would take too long


def fail(where: str, reason: str) -> NoReturn:
    """Raise `DataError` with the place and the reason."""
    raise DataError(f"{where}: {reason}" if where else reason)


def described(value: Any) -> str:
    """A value in a few words, for an error message."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return f"the text {_shortened(value)}" if value.strip() else "blank text"
    if isinstance(value, Mapping):
        return f"an object with the keys {names(value)}" if value else "an empty object"
    if isinstance(value, list | tuple):
        return f"a list of {len(value)}"
    if isinstance(value, int) and value.bit_length() > 128:
        return "a huge number"
    return f"the number {value}" if isinstance(value, int | float) else f"a value of type {type(value).__name__}"


def names(keys: Collection[Any]) -> str:
    """The first few of `keys`, as a message lists them."""
    shown = [_cut(str(key)) for key in list(keys)[:8]]
    return ", ".join(shown) + (f" and {len(keys) - 8} more" if len(keys) > 8 else "")


def nearest(word: Any, known: Collection[str]) -> str:
    """The end of a message about an unknown word: the nearest known one, or all of them."""
    near = difflib.get_close_matches(str(word)[:_LONGEST_KEY].lower(), known, n=1)
    return f"did you mean {near[0]}?" if near else f"known: {', '.join(known)}."


def check_keys(item: Mapping[str, Any], known: Collection[str], where: str) -> None:
    """Refuse a key that is not `known`. A null is the padding of a table format and is let through."""
    for key, value in item.items():
        if key not in known and value is not None:
            fail(where, f'unknown key "{_cut(str(key))}"; {nearest(key, known)} Rename or remove it')


def take_text(value: Any, where: str, what: str) -> str:
    """`value`, which must be text."""
    if not isinstance(value, str):
        fail(where, f"{what} is {described(value)}; it must be text")
    return value


def take_object(value: Any, where: str, what: str) -> Mapping[str, Any]:
    """`value`, which must be an object."""
    if not isinstance(value, Mapping):
        fail(where, f"{what} is {described(value)}; it must be an object")
    return value


def take_list(value: Any, where: str, what: str) -> Sequence[Any]:
    """`value`, which must be a list or the JSON text of one."""
    if isinstance(value, str):
        value = decoded(value, where, what)
    if not isinstance(value, list | tuple):
        fail(where, f"{what} is {described(value)}; it must be a list")
    return value


def decoded(text: str, where: str, what: str) -> Any:
    """The value of JSON text."""
    read = read_json(text, 0)
    if is_json(text, read):
        try:
            return load_json(text) if isinstance(read.value, dict | list) else read.value
        except ValueError as error:
            fail(where, f"{what}: {error}; correct it")
    at = min(read.end, len(text))
    shown = f"at character {at}, near {_shortened(text[at : at + 200])}" if text.strip() else "it is blank"
    return fail(where, f"{what} is not JSON ({shown}), or is nested more than {MAX_DEPTH} deep; correct it")


def half_character(value: Any) -> str | None:
    """The first half of a surrogate pair in a value's texts, as an escape. JSON can write it, no tokenizer takes it."""
    try:
        json.dumps(value, ensure_ascii=False, default=repr).encode()
    except UnicodeEncodeError as error:
        return f"\\u{ord(error.object[error.start]):04x}"
    return None


def is_json(text: str, read: ValueRead | None = None) -> bool:
    """Whether text is one JSON value; `read` is what was read at its start, if it was."""
    read = read or read_json(text, 0)
    return read.failure is None and skip_space(text, read.end) == len(text)


def whole_literal(text: str) -> Any:
    """The value of text that is one Python literal and nothing else; None if it is not."""
    read = read_literal(text, 0)
    return read.value if read.failure is None and skip_blank(text, read.end) == len(text) else None


def is_too_deep(value: Any) -> bool:
    """Whether more than MAX_DEPTH objects and lists are nested in a value."""
    level = [value]
    for _ in range(MAX_DEPTH + 1):
        inner: list[Any] = []
        for item in level:
            if isinstance(item, Mapping):
                inner.extend(item.values())
            elif isinstance(item, list | tuple):
                inner.extend(item)
        if not inner:
            return False
        level = inner
    return True


def take_session_id(value: Any, where: str) -> str | None:
    """A session id: text, or a whole number that becomes text. None if the row has none."""
    if value is None:
        return None
    if isinstance(value, int) and not isinstance(value, bool) and value.bit_length() <= 128:
        return str(value)
    if not isinstance(value, str) or not value.strip():
        fail(where, f"the session id is {described(value)}; it must be text or a whole number, or be left out")
    return value


def take_date(value: Any, where: str) -> str | None:
    """A date as text. Arrow's JSON reader takes a column of dates for points in time; that guess is undone."""
    if value is None:
        return None
    if isinstance(value, datetime.datetime):
        return value.date().isoformat() if value.time() == datetime.time() else value.isoformat()
    if isinstance(value, datetime.date):
        return value.isoformat()
    return take_text(value, where, "the date") or None


def _cut(text: str) -> str:
    return text if len(text) <= _LONGEST_KEY else f"{text[:_LONGEST_KEY]}…"


def _shortened(text: str) -> str:
    return repr(text if len(text) <= _MOST_SHOWN else f"{text[:_MOST_SHOWN]}…")
