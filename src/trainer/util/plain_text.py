"""Text that any terminal and any log file can show: no control characters, and no character that cannot be written."""

import codecs
import re
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069]")
_LOOK_ALIKES = {"–": "-", "—": "-", "…": "...", "×": "x", "→": "->", "↑": "^", "↓": "v", "≤": "<=", "≥": ">=", "█": "#"}
_ERRORS = "tool_sft_look_alikes"


def printable(text: str) -> str:
    r"""Return text in which control characters, except line breaks and tabs, are escapes.

    A terminal would obey them, or show text in another order. A carriage return before a line break is left out.

    >>> printable("red: \x1b[31m")
    'red: \\x1b[31m'
    """
    return _CONTROL.sub(lambda found: _escaped(found[0]), text.replace("\r\n", "\n"))


@contextmanager
def readable_output() -> Iterator[None]:
    """Inside the block, what the encoding of standard output or error lacks is written in ASCII, not refused."""
    codecs.register_error(_ERRORS, _in_ascii)
    with ExitStack() as later:
        for stream in (sys.stdout, sys.stderr):
            change: Any = getattr(stream, "reconfigure", None)
            if change is not None and stream.errors in ("strict", "backslashreplace"):
                later.callback(change, errors=stream.errors)
                change(errors=_ERRORS)
        yield


def _in_ascii(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    refused = error.object[error.start : error.end]
    return "".join(_LOOK_ALIKES.get(character, _escaped(character)) for character in refused), error.end


def _escaped(character: str) -> str:
    if character.isascii():
        return f"\\x{ord(character):02x}"
    return character.encode("ascii", "backslashreplace").decode()
