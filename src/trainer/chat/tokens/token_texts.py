"""Split the text of tokens at the borders of tokens. Knows no message and no template."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

_UNKNOWN = "\ufffd"  # what an incomplete character decodes to
_MOST_TOKENS = 8  # of one character


class Piece(NamedTuple):
    """The text of a token, or of several tokens that are text only together, such as the bytes of an emoji."""

    text: str
    n_tokens: int


class TokenTexts:
    """The texts of tokens of one tokenizer. `decode` returns the text of several tokens."""

    def __init__(self, decode: Callable[[Sequence[int]], str]) -> None:
        self._decode = decode
        self._known: dict[tuple[int, ...], str] = {}

    def pieces(self, ids: Sequence[int], start: int, end: int) -> list[Piece]:
        """Return the tokens `ids[start:end]` as texts. What is before a piece decides about a space in front of it."""
        found = []
        before = max(start - 1, 0)
        while start < end:
            after = start + 1
            text = self._text(ids, before, start, after)
            while text.endswith(_UNKNOWN) and after < min(end, start + _MOST_TOKENS):
                after += 1
                text = self._text(ids, before, start, after)
            found.append(Piece(text, after - start))
            before, start = start, after
        return found

    def _text(self, ids: Sequence[int], before: int, start: int, end: int) -> str:
        key = (before - start, *ids[before:end])
        if key not in self._known:
            head, whole = self._decode(ids[before:start]), self._decode(ids[before:end])
            self._known[key] = whole[len(head) :] if whole.startswith(head) else self._decode(ids[start:end])
        return self._known[key]
