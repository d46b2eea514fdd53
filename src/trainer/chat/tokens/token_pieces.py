"""Tokenize rows that share most of their text: each part between two special tokens only once.

Templates that rewrite history need several rows for a session, which differ in few places. Tokenizers split text at
special tokens first, so the tokens of a part do not depend on what is around it. Whether a tokenizer does that is tried
with the first rows; if not, whole rows are tokenized.
"""

import re
from collections.abc import Callable, Mapping, Sequence

from trainer.chat.template.render import Tokenizer, added_token_pattern
from trainer.chat.tokens.tokenized_text import TokenizedText

Tokenize = Callable[[Sequence[str]], list[TokenizedText]]


class TokenPieces:
    """The tokens of parts of text that were seen. One for each batch of sessions, so it cannot grow without limit."""

    def __init__(self, tokenizer: Tokenizer, tokenize: Tokenize) -> None:
        self._tokenize = tokenize
        added = tokenizer.added_tokens_decoder
        self._special: Mapping[int, str] = {i: str(t.content) for i, t in added.items() if t.special}
        # A token that takes the white space before it changes the part before it.
        self._is_usable = tokenizer.is_fast and not any(t.lstrip for t in added.values())
        self._is_tried = False
        self._pattern: re.Pattern[str] | None = None
        self._known: dict[str, list[int]] = {}

    def learn(self, rows: Sequence[TokenizedText]) -> None:
        """Remember the parts of rows that are already tokenized."""
        seen = {i for row in rows for i in self._special.keys() & set(row.ids)} if self._is_usable else set()
        found = added_token_pattern({self._special[i] for i in seen})
        self._pattern = re.compile(f"(?={found.pattern})") if found else None
        for row in rows if self._pattern else ():
            borders = [index for index, token in enumerate(row.ids) if token in seen]
            starts = borders if borders[:1] == [0] else [0, *borders]
            parts = self._parts(row.text)
            if len(parts) == len(starts):
                ends = [*starts[1:], len(row.ids)]
                pieces = (row.ids[start:end] for start, end in zip(starts, ends, strict=True))
                self._known.update(zip(parts, pieces, strict=True))

    def batch(self, texts: Sequence[str]) -> list[TokenizedText]:
        """Tokenize texts, from known parts if possible."""
        if not self._is_usable or self._pattern is None:
            return self._tokenize(texts)
        parts = [self._parts(text) for text in texts]
        unknown = list(dict.fromkeys(part for one in parts for part in one if part not in self._known))
        self._known.update({part: row.ids for part, row in zip(unknown, self._tokenize(unknown), strict=True)})
        joined = [TokenizedText(text, self._joined(one), is_split=True) for text, one in zip(texts, parts, strict=True)]
        if not self._is_tried:
            self._is_tried = True
            (whole,) = self._tokenize(texts[:1])
            self._is_usable = whole.ids == joined[0].ids
        return joined if self._is_usable else self._tokenize(texts)

    def _joined(self, parts: Sequence[str]) -> list[int]:
        return [token for part in parts for token in self._known[part]]

    def _parts(self, text: str) -> list[str]:
        assert self._pattern is not None
        return [part for part in self._pattern.split(text) if part]
