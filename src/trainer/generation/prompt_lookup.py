"""Draft the next tokens of an answer from what followed its last tokens earlier. Runs no model.

Prompt lookup (Saxena 2023, "Prompt Lookup Decoding"): answers repeat names and values from their prompt, and from
themselves. A draft costs nothing and the model checks it, so a wrong one only wastes its share of a pass.
"""

from collections.abc import Iterable

_LONGEST_MATCH = 3  # tokens; looking up longer endings was no better


class Drafter:
    """The tokens so far, and where each short sequence of them last occurred.

    `n_right` is how many of the last tokens, in a row, a draft would have had right; None before the first `extend`.
    """

    def __init__(self, tokens: Iterable[int]) -> None:
        self.n_right: int | None = None
        self._tokens: list[int] = []
        self._followed: dict[tuple[int, ...], int] = {}  # sequence -> index of the token after its last occurrence
        for token in tokens:
            self._append(token)

    def extend(self, tokens: Iterable[int]) -> None:
        """Append the tokens that came next."""
        for token in tokens:
            self.n_right = (self.n_right or 0) + 1 if self.propose(1) == [token] else 0
            self._append(token)

    def _append(self, token: int) -> None:
        for ending in self._endings():
            self._followed[ending] = len(self._tokens)
        self._tokens.append(token)

    def propose(self, n_tokens: int) -> list[int]:
        """Up to `n_tokens` likely next tokens: those after the last occurrence of the longest known ending, if any."""
        start = next((self._followed[e] for e in self._endings() if e in self._followed), None)
        if start is None:
            return []
        draft: list[int] = []
        for index in range(start, start + n_tokens):  # past the end, the draft repeats its own tokens
            n_past = index - len(self._tokens)
            draft.append(draft[n_past] if n_past >= 0 else self._tokens[index])
        return draft

    def _endings(self) -> list[tuple[int, ...]]:
        """The last tokens as sequences, longest first."""
        longest = min(_LONGEST_MATCH, len(self._tokens))
        return [tuple(self._tokens[-n:]) for n in range(longest, 0, -1)]
