"""A text with its tokens, and where its added tokens are in both. Proves nothing about prompts or turns."""

from collections.abc import Callable, Iterable, Sequence
from typing import Any

from trainer.chat.template.render import added_token_pattern


class TokenizedText:
    """A text with its tokens. `is_split`: the tokenizer splits texts at added tokens first."""

    def __init__(self, text: str, ids: list[int], *, is_split: bool) -> None:
        self.text, self.ids, self.is_split = text, ids, is_split
        self._indices: dict[str, dict[int, int]] = {}

    def index_by_position(self, token: str, token_id: int) -> dict[int, int]:
        """Return the token index of each occurrence of an added token, keyed by its character position.

        Empty if the text and the tokens do not contain it equally often: then they cannot be matched.
        """
        if token not in self._indices:
            positions = _occurrences(self.text.index, token)
            indices = _occurrences(self.ids.index, token_id)
            known = self.is_split and len(positions) == len(indices)
            self._indices[token] = dict(zip(positions, indices, strict=True)) if known else {}
        return self._indices[token]


def _occurrences(index: Callable[[Any, int], int], item: Any) -> list[int]:
    """Return every position at which the `index` method of a text or list finds an item."""
    found: list[int] = []
    position = -1
    try:
        while True:
            position = index(item, position + 1)
            found.append(position)
    except ValueError:
        return found


def literal_tokens(texts: Sequence[str], special: Iterable[str]) -> tuple[tuple[int, str], ...]:
    """Return the special tokens that occur in texts, as (index of the text, token)."""
    # Almost no text contains one, and a search for their first characters in all texts at once shows that quickly.
    together = "".join(texts)
    suspects = [token for token in special if token[0] in together and token in together]
    pattern = added_token_pattern(suspects)
    if pattern is None:
        return ()
    return tuple((index, token) for index, text in enumerate(texts) for token in pattern.findall(text))
