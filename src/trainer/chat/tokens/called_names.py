"""Find the tokens of an answer that name the tools it calls. Trains nothing."""

import re
from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache
from itertools import accumulate

from trainer.chat.tokens.token_texts import TokenTexts
from trainer.tool_calls import ToolCallFormat

_MOST_ANSWERS = 2**13  # that are remembered, so that later epochs do not read them again


class CalledNames:
    """Finds names in answers of one tokenizer, of which `decode` returns the text of tokens, and of one format."""

    def __init__(self, decode: Callable[[Sequence[int]], str], fmt: ToolCallFormat) -> None:
        self._texts = TokenTexts(decode)
        self._fmt = fmt
        self._known = lru_cache(_MOST_ANSWERS)(self._places)

    def places(self, answer: Sequence[int]) -> tuple[int, ...]:
        """Return the indices of the tokens that hold a part of a called tool's name, in order; none without a call."""
        return self._known(tuple(answer))

    def _places(self, answer: tuple[int, ...]) -> tuple[int, ...]:
        pieces = self._texts.pieces(answer, 0, len(answer))
        names = list(self._names("".join(piece.text for piece in pieces)))
        ends = accumulate(len(piece.text) for piece in pieces)
        found: list[int] = []
        token = 0
        for piece, end in zip(pieces, ends, strict=True):
            if any(end - len(piece.text) < name.stop and name.start < end for name in names):
                found += range(token, token + piece.n_tokens)
            token += piece.n_tokens
        return tuple(found)

    def _names(self, text: str) -> Iterator[range]:
        """The characters of each name."""
        for call in self._fmt.parse(text).calls:
            found = re.search(rf"(?<!\w){re.escape(call.name)}(?!\w)", call.raw) if call.name else None
            if found is not None:
                yield range(call.start + found.start(), call.start + found.end())
