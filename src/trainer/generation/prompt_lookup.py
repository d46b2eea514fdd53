"""Draft how an answer goes on, from what its last tokens were followed by before. Knows no model.

Prompt lookup (Saxena 2023, "Prompt Lookup Decoding"): answers repeat names and values from their prompt, and
themselves. A draft costs nothing and is checked by the model, so a wrong one only wastes its share of a pass.
"""

from collections.abc import Iterable

_LONGEST_MATCH = 3  # last tokens that are looked up together; longer ones were found no better


class Drafter:
    """Everything that stood before the next token, and where each short sequence of it stood last."""

    def __init__(self, tokens: Iterable[int]) -> None:
        self._tokens: list[int] = []
        self._followed: dict[tuple[int, ...], int] = {}  # sequence -> place of the token behind its last occurrence
        self.extend(tokens)

    def extend(self, tokens: Iterable[int]) -> None:
        """Take in what was said next."""
        for token in tokens:
            for ending in self._endings():
                self._followed[ending] = len(self._tokens)
            self._tokens.append(token)

    def propose(self, n_tokens: int) -> list[int]:
        """Up to `n_tokens` that may follow: those behind the last occurrence of the longest known ending, or none."""
        place = next((self._followed[e] for e in self._endings() if e in self._followed), None)
        if place is None:
            return []
        draft: list[int] = []
        for index in range(place, place + n_tokens):  # what runs past the end repeats the draft itself
            n_past = index - len(self._tokens)
            draft.append(draft[n_past] if n_past >= 0 else self._tokens[index])
        return draft

    def _endings(self) -> list[tuple[int, ...]]:
        """The last tokens as sequences, the longest first."""
        longest = min(_LONGEST_MATCH, len(self._tokens))
        return [tuple(self._tokens[-n:]) for n in range(longest, 0, -1)]
