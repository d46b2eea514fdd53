"""Small readers that the formats share: markers in linear time, and the parts of a call. Defines no format."""

import re
from collections.abc import Sequence
from typing import Any, NamedTuple

from trainer.types import CallStatus


class Finder:
    """`str.find` with a memory. Any number of searches with rising start positions take linear time together."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._known: dict[str, tuple[int, int]] = {}
        self._matches: dict[re.Pattern[str], tuple[int, re.Match[str] | None]] = {}

    def find(self, marker: str, start: int) -> int:
        """Return the first position of `marker` at or after `start`, or the length of the text if there is none."""
        searched_from, found = self._known.get(marker, (0, -1))
        if searched_from <= start <= found:
            return found
        found = self._text.find(marker, start)
        found = len(self._text) if found < 0 else found
        self._known[marker] = (start, found)
        return found

    def search(self, pattern: re.Pattern[str], start: int) -> re.Match[str] | None:
        """Return the first match of `pattern` at or after `start`."""
        searched_from, match = self._matches.get(pattern, (len(self._text) + 1, None))
        if searched_from <= start and (match is None or start <= match.start()):
            return match
        match = pattern.search(self._text, start)
        self._matches[pattern] = (start, match)
        return match

    def first(self, markers: Sequence[str], start: int) -> int:
        """Return the first position of any of `markers` at or after `start`, or the length of the text."""
        return min(self.find(marker, start) for marker in markers)


class CallParts(NamedTuple):
    """The checked parts of a call. `status` is "ok" exactly if both other fields are set."""

    status: CallStatus
    name: str | None = None
    arguments: dict[str, Any] | None = None


def call_parts(value: Any, keys: Sequence[str] = ("arguments",)) -> CallParts:
    """Check a decoded `{"name": …, "arguments": {…}}`. The first key of `keys` that is present has the arguments.

    Arguments that are missing, null or a JSON *string* are `bad_arguments`: no server passes them on as an
    object.
    """
    name = value.get("name") if isinstance(value, dict) else None
    if not isinstance(name, str) or not name:
        return CallParts("missing_name")
    return named_parts(name, next((value[key] for key in keys if key in value), None))


def named_parts(name: str, arguments: Any) -> CallParts:
    """Check a name and decoded arguments, for formats that write them separately."""
    if not name:
        return CallParts("missing_name")
    return CallParts("ok", name, arguments) if isinstance(arguments, dict) else CallParts("bad_arguments", name)
