"""A text beside its tokens: where its added tokens stand in both. Proves nothing about prompts or turns."""

from collections.abc import Callable, Iterable, Sequence
from typing import Any

from trainer.chat.render import added_token_pattern


class TokenizedText:
    """A text with its tokens. `is_split` says that its tokenizer splits texts at added tokens first."""

    def __init__(self, text: str, ids: list[int], *, is_split: bool) -> None:
        self.text, self.ids, self.is_split = text, ids, is_split
        self._places: dict[str, dict[int, int]] = {}

    def places(self, token: str, token_id: int) -> dict[int, int]:
        """For each occurrence of an added token, its character position and its place among the tokens.

        Empty where text and tokens do not hold it equally often: then it is not known which is which.
        """
        if token not in self._places:
            positions = _occurrences(self.text.index, token)
            places = _occurrences(self.ids.index, token_id)
            known = self.is_split and len(positions) == len(places)
            self._places[token] = dict(zip(positions, places, strict=True)) if known else {}
        return self._places[token]


def _occurrences(index: Callable[[Any, int], int], item: Any) -> list[int]:
    """Every place at which the `index` method of a text or list finds an item."""
    places: list[int] = []
    place = -1
    try:
        while True:
            place = index(item, place + 1)
            places.append(place)
    except ValueError:
        return places


def literal_tokens(texts: Sequence[str], special: Iterable[str]) -> tuple[tuple[int, str], ...]:
    """Special tokens that stand in texts, as (index of the text, token)."""
    # Almost no text holds any: looking for their first characters in all texts at once is enough to know.
    together = "".join(texts)
    suspects = [token for token in special if token[0] in together and token in together]
    pattern = added_token_pattern(suspects)
    if pattern is None:
        return ()
    return tuple((index, token) for index, text in enumerate(texts) for token in pattern.findall(text))
