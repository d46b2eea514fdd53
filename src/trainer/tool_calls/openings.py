"""Find out where a call may begin in an answer that is still being written, for any format and without its grammar.

A format is only asked to read texts: what is there so far, and what is there with possible rests of a call after it.
Whatever hides the first character of a text from the prose may be the beginning of a call.
"""

from collections.abc import Iterator
from functools import lru_cache
from itertools import chain, product

from trainer.tool_calls.base import ToolCallFormat
from trainer.types import Call

AT_START, AT_LINE, IN_LINE = "", "Qz\n\n", "Qz "
"""What is before a character: nothing, other lines, or words of its own line."""

_CALLS = (Call("f", {"a": "b", "n": 1}), Call("g", {}))
_KEYS = ("name", "id", "type", "function", "parameters", "arguments")
_REASONING = ("<think>a", "[THINK]a", "<|channel>thought\na")  # a marker that closes a block would hide all before it
_BRACKETS = "<[{`"
_WORDS = ("None", "True", "False", "null", "true", "false")
_ENDS = tuple(word[n:] for word in _WORDS for n in range(1, len(word)))
_VALUES = ("", ": 1", "1", "=1", "a=1", '"a": 1', "g(a=1)", ", g(a=1)", "(a=1)", *_ENDS)
_CLOSING = {"(": ")", "[": "]", "{": "}"}
_SMALLEST = 16
_LONGEST_KEPT = 64
_N_KEPT = 4096


class Openings:
    """How calls of one format begin.

    `streams` is False if any text may become a part of a call, so that prose is certain only at the end.
    """

    def __init__(self, fmt: ToolCallFormat) -> None:
        self._fmt = fmt
        self._rests = tuple(dict.fromkeys(_rests(fmt)))
        self._hides_kept = lru_cache(_N_KEPT)(self._hides)
        self._any_opener = firsts = {spelled.lstrip()[:1] for spelled in _spelled(fmt)} | set(_BRACKETS)
        self._openers = {
            context: frozenset(first for first in firsts if self.may_begin(first, context) or first == "<")
            for context in (AT_LINE, IN_LINE)
        } | {AT_START: frozenset(firsts)}
        self.streams = not self.may_begin("z", IN_LINE)

    def openers(self, context: str) -> frozenset[str]:
        """Return the characters with which a call may begin after `context`."""
        return self._openers[context]

    def may_begin(self, head: str, context: str) -> bool:
        """Return whether `head`, the text from one character on, may be or become more than prose."""
        size = _SMALLEST
        while size < len(head):  # what a short part already shows need not be read in a long text
            if not self._hidden(head[:size], context):
                return False
            size *= 4
        return self._hidden(head, context)

    def _hidden(self, head: str, context: str) -> bool:
        return self._hides_kept(head, context) if len(head) <= _LONGEST_KEPT else self._hides(head, context)

    def _hides(self, head: str, context: str) -> bool:
        # Up to the next character that may begin a call, the text is prose if its first character is.
        end = next((i for i, character in enumerate(head) if i and character in self._any_opener), len(head))
        prose = context + head[:end].rstrip()
        rests = chain(self._rests, _closed(head))
        hides = any(not self._fmt.parse(context + head + rest).content.startswith(prose) for rest in rests)
        # At the start, prose after a call may begin like the call itself; after words of our own, it cannot.
        return hides or (context == AT_START and self._hides(head, AT_LINE))


@lru_cache(64)
def openings(fmt: ToolCallFormat) -> Openings:
    """Return how the calls of a format begin. It is found out once."""
    return Openings(fmt)


def _rests(fmt: ToolCallFormat) -> Iterator[str]:
    """Yield what may follow: nothing first, because a call that has begun is the usual case."""
    yield ""
    for spelled in _spelled(fmt):
        yield from (spelled[position:] for position in range(len(spelled)))


def _spelled(fmt: ToolCallFormat) -> Iterator[str]:
    """Yield calls as the format writes them, and in the other spellings that readers of JSON and Python accept."""
    for calls in (_CALLS[:1], _CALLS):
        written = fmt.render(calls)
        yield from (written, written.replace('"', "'"))
    for key, value in product(_KEYS, ('"f"', "{}")):
        yield f'[{{"{key}": {value}, "name": "f", "arguments": {{}}}}]'
    yield from _REASONING


def _closed(head: str) -> Iterator[str]:
    """Yield rests that close all the brackets and the string that a text leaves open."""
    open_brackets, quote, escaped = [], "", False
    for character in head:
        if quote:
            escaped, ends = character == "\\" and not escaped, character == quote and not escaped
            quote = "" if ends else quote
        elif character in "\"'":
            quote = character
        elif character in _CLOSING:
            open_brackets.append(_CLOSING[character])
        elif open_brackets and character == open_brackets[-1]:
            open_brackets.pop()
    closing = "".join(reversed(open_brackets))
    if quote:  # a value, or a key that still needs one
        end = ("\\" if escaped else "") + quote
        yield from (end + closing, f"{end}: 1{closing}")
    else:
        yield from (value + closing for value in _VALUES)
