"""Tokens of prompts and targets, and the proof that a span of a row holds exactly what a server would see.

The proof rests on one property of fast tokenizers: text is split at added tokens first and each piece is
tokenized on its own, so the tokens behind an added token do not depend on what stands before it, nor those
before it on what follows. Where that cannot decide, the prompt itself is tokenized and compared.
"""

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from trainer.chat.render import Tokenizer, added_token_pattern
from trainer.chat.texts import TurnText
from trainer.errors import TemplateError

# Prompts end in a handful of ways; where they do not, the memory for them stays bounded.
MAX_ENDINGS = 4096
# Characters in which the last added token of a prompt is looked for. Missing it costs time, nothing else.
WINDOW = 256


class Span(NamedTuple):
    """Tokens [start, end) of a row are what the model has to write in turn `turn`, stop token last."""

    turn: int
    start: int
    end: int


class Anchor(NamedTuple):
    """The last added token of a prompt: itself, its character position, and the prompt's tokens from it on."""

    token: str
    position: int
    ids: tuple[int, ...]


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
            positions = list(_occurrences(self.text.index, token))
            places = list(_occurrences(self.ids.index, token_id))
            known = self.is_split and len(positions) == len(places)
            self._places[token] = dict(zip(positions, places, strict=True)) if known else {}
        return self._places[token]


class Tokens:
    """A tokenizer, and the proofs that can be made with it."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        self.tokenizer = tokenizer
        self.added = added_token_pattern(tokenizer.get_added_vocab())
        self._endings: dict[str, tuple[int, ...]] = {}

    def ids(self, text: str) -> list[int]:
        """Tokens of a text in which special tokens are written out, as a server tokenizes a prompt."""
        return list(self.tokenizer(text, add_special_tokens=False)["input_ids"])

    def batch(self, texts: Sequence[str]) -> list[TokenizedText]:
        """Tokenize many texts in one call."""
        if not texts:
            return []
        ids = self.tokenizer(list(texts), add_special_tokens=False, return_attention_mask=False)["input_ids"]
        return [TokenizedText(*item, is_split=self.tokenizer.is_fast) for item in zip(texts, ids, strict=True)]

    def prove(self, turn: TurnText, row: TokenizedText) -> Span | None:
        """Find the turn in a row whose text starts with its prompt and target; None where it is not proven."""
        anchor = self._anchor(turn.prompt)
        span = self.find(turn, row, anchor)
        return span if span is not None and self.is_proven(turn, span, row, anchor) else None

    def find(self, turn: TurnText, row: TokenizedText, anchor: Anchor | None) -> Span | None:
        """Where the turn's target should lie, from the places of the added tokens around it."""
        if anchor is None:
            return None
        first = row.places(anchor.token, anchor.ids[0]).get(anchor.position)
        last = row.places(turn.stop, turn.stop_id).get(turn.stop_position)
        return None if first is None or last is None else Span(turn.turn, first + len(anchor.ids), last + 1)

    def is_proven(self, turn: TurnText, span: Span, row: TokenizedText, anchor: Anchor | None) -> bool:
        """Whether the tokens before the span are the prompt's, and those of the span are the target's.

        Compares only the tokens from the prompt's last added token on. False means not shown.
        """
        if anchor is None or not row.text.startswith(turn.whole):
            return False
        first, last = span.start - len(anchor.ids), span.end - 1
        return (
            row.places(anchor.token, anchor.ids[0]).get(anchor.position) == first
            and tuple(row.ids[first : span.start]) == anchor.ids
            and row.places(turn.stop, turn.stop_id).get(turn.stop_position) == last
            and span.start <= last
        )

    def holds(self, turn: TurnText, ids: Sequence[int], row: TokenizedText) -> Span | None:
        """The turn's span in tokens made from a row, by comparing all of them; None if they differ."""
        prompt, target = self.apart(turn, row)
        whole = prompt + target
        return Span(turn.turn, len(prompt), len(whole)) if list(ids[: len(whole)]) == whole else None

    def apart(self, turn: TurnText, row: TokenizedText) -> tuple[list[int], list[int]]:
        """Tokens of the prompt, and of the target as what follows them.

        Needed where tokens of the text as a whole run across the end of the prompt. Given a row
        that starts with the turn's text, only what follows the prompt's last added token is tokenized again.

        Raises:
            TemplateError: no tokens of the target continue the prompt's tokens to the right text.
        """
        before, ending = self._before_anchor(turn, row)
        prompt = self.ids(ending)
        for target in self._targets(turn, ending, prompt):
            if target and target[-1] == turn.stop_id:
                return before + prompt, target
        raise TemplateError(
            f"turn {turn.turn}: the tokenizer cannot write this turn behind its serving prompt "
            f"(prompt ends {turn.prompt[-40:]!r}, turn begins {turn.target[:40]!r})"
        )

    def decode(self, ids: Sequence[int]) -> str:
        """Text of tokens, special tokens written out, nothing tidied."""
        return str(self.tokenizer.decode(list(ids), skip_special_tokens=False, clean_up_tokenization_spaces=False))

    def _before_anchor(self, turn: TurnText, row: TokenizedText) -> tuple[list[int], str]:
        """The tokens before the prompt's last added token, and the prompt's text from it on."""
        anchor = self._anchor(turn.prompt)
        first = row.places(anchor.token, anchor.ids[0]).get(anchor.position) if anchor else None
        if anchor is None or first is None:
            return [], turn.prompt
        return row.ids[:first], turn.prompt[anchor.position :]

    def _targets(self, turn: TurnText, ending: str, prompt: list[int]) -> Iterator[list[int]]:
        """Ways to write the target behind the prompt's tokens; each decodes to the same text as the whole."""
        whole = self.ids(ending + turn.target)
        if whole[: len(prompt)] == prompt:
            yield whole[len(prompt) :]
        text = self.decode(whole)
        alone = self.ids(turn.target)
        if self.decode(prompt + alone) == text:
            yield alone
        # Behind its own stop token, so that no tokenizer takes the target for the start of a text.
        inside = self.ids(turn.stop + turn.target)[1:]
        if self.decode(prompt + inside) == text:
            yield inside

    def _anchor(self, prompt: str) -> Anchor | None:
        """The last added token of the prompt; None where none is near its end."""
        if self.added is None:
            return None
        found = None
        for match in self.added.finditer(prompt, max(0, len(prompt) - WINDOW)):
            found = match
        if found is None:
            return None
        ending = prompt[found.start() :]
        ids = self._endings.get(ending)
        if ids is None:
            if len(self._endings) >= MAX_ENDINGS:
                self._endings.clear()
            ids = self._endings[ending] = tuple(self.ids(ending))
        return Anchor(found.group(), found.start(), ids)


def _occurrences(index: Callable[[Any, int], int], item: Any) -> Iterator[int]:
    """Every place at which the `index` method of a text or list finds an item."""
    place = -1
    with contextlib.suppress(ValueError):
        while True:
            place = index(item, place + 1)
            yield place


def literal_tokens(texts: Sequence[str], special: Mapping[str, int]) -> tuple[tuple[int, str], ...]:
    """Special tokens that stand in texts, as (index of the text, token)."""
    pattern = added_token_pattern(special)
    if pattern is None:
        return ()
    return tuple((index, token) for index, text in enumerate(texts) for token in pattern.findall(text))
