"""Tokenize prompts and targets, and prove that a span of a row holds exactly what a server would see.

The proof uses one property of fast tokenizers: they split text at added tokens first and tokenize each piece
on its own. So the tokens after an added token do not depend on the text before it, and the tokens before it do
not depend on the text after it. If that cannot decide, the prompt itself is tokenized and compared.
"""

import re
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from trainer.chat.template.render import Tokenizer, added_token_pattern
from trainer.chat.tokens.tokenized_text import TokenizedText
from trainer.chat.turn_texts import TurnText
from trainer.errors import TemplateError

# Characters to search first for the last added token of a prompt: most prompts end close to one.
WINDOW = 256


class Span(NamedTuple):
    """Tokens [start, end) of a row are what the model must write in turn `turn`. The stop token is the last."""

    turn: int
    start: int
    end: int


class Ending(NamedTuple):
    """The end of a prompt from its last added token on: that token, the text, and the tokens of the text."""

    token: str
    text: str
    ids: tuple[int, ...]


class Anchor(NamedTuple):
    """The last added token of a prompt, its character position, and the prompt's tokens from it on."""

    token: str
    position: int
    ids: tuple[int, ...]


class PromptAndTarget(NamedTuple):
    """The tokens of a prompt and of its target. The given row begins with the first `n_shared` of them."""

    prompt: list[int]
    target: list[int]
    n_shared: int


class SpanProver:
    """Tokenizes texts and proves spans with one tokenizer."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        self.tokenizer = tokenizer
        self.added = added_token_pattern(tokenizer.get_added_vocab())
        self._usual_ending = Ending("", "", ())

    def ids(self, text: str) -> list[int]:
        """Return the tokens of a text that contains its special tokens, as a server tokenizes a prompt."""
        return list(self.tokenizer(text, add_special_tokens=False)["input_ids"])

    def batch(self, texts: Sequence[str]) -> list[TokenizedText]:
        """Tokenize many texts in one call."""
        is_fast = self.tokenizer.is_fast
        ids = self._batch_ids(texts) if is_fast else [self.ids(text) for text in texts]
        return [TokenizedText(*item, is_split=is_fast) for item in zip(texts, ids, strict=True)]

    def _batch_ids(self, texts: Sequence[str]) -> list[list[int]]:
        """Tokenize with the tokenizer's backend, without the offsets that transformers would ask it for."""
        engine = self.tokenizer.backend_tokenizer
        # The settings of an earlier call stay in place.
        engine.no_truncation()
        engine.no_padding()
        engine.encode_special_tokens = self.tokenizer.split_special_tokens
        return [encoding.ids for encoding in engine.encode_batch_fast(list(texts), add_special_tokens=False)]

    def prove(self, turn: TurnText, row: TokenizedText) -> Span | None:
        """Return the span of the turn in a row whose text begins with it, or None if that is not proven."""
        anchor = self.anchor(turn)
        span = self.find(turn, row, anchor)
        return span if span is not None and self.is_proven(turn, span, row, anchor) else None

    def find(self, turn: TurnText, row: TokenizedText, anchor: Anchor | None) -> Span | None:
        """Return where the turn's target should be, judged by the added tokens around it."""
        if anchor is None:
            return None
        first = row.index_by_position(anchor.token, anchor.ids[0]).get(anchor.position)
        last = row.index_by_position(turn.stop, turn.stop_id).get(turn.stop_position)
        return None if first is None or last is None else Span(turn.turn, first + len(anchor.ids), last + 1)

    def is_proven(self, turn: TurnText, span: Span, row: TokenizedText, anchor: Anchor | None) -> bool:
        """Return whether the prompt's tokens are before the span and the target's tokens are in it.

        The row's text must begin with the turn. Compares only the tokens from the prompt's last added token
        on. False means "not shown".
        """
        if anchor is None:
            return False
        first, last = span.start - len(anchor.ids), span.end - 1
        return (
            row.index_by_position(anchor.token, anchor.ids[0]).get(anchor.position) == first
            and tuple(row.ids[first : span.start]) == anchor.ids
            and row.index_by_position(turn.stop, turn.stop_id).get(turn.stop_position) == last
            and span.start <= last
        )

    def tokenize_apart(self, turn: TurnText, row: TokenizedText) -> PromptAndTarget:
        """Return the tokens of the prompt, and the tokens of the target that continue them.

        Needed if a token of the whole text crosses the end of the prompt. The row's text must begin with the
        turn; only the part from the prompt's last added token on is tokenized again.

        Raises:
            TemplateError: no tokens of the target continue the prompt's tokens to the right text.
        """
        anchor = self.anchor(turn)
        first = row.index_by_position(anchor.token, anchor.ids[0]).get(anchor.position) if anchor else None
        before, ending = [], turn.prompt
        if anchor is not None and first is not None:
            before, ending = row.ids[:first], turn.text[anchor.position : turn.start]
        prompt = self.ids(ending)
        for target in self._targets(turn, ending, prompt):
            if target and target[-1] == turn.stop_id:
                return PromptAndTarget(before + prompt, target, len(before))
        raise TemplateError(
            f"turn {turn.turn}: the tokenizer cannot write this turn after its serving prompt "
            f"(prompt ends {turn.prompt[-40:]!r}, turn begins {turn.target[:40]!r})"
        )

    def decode(self, ids: Sequence[int]) -> str:
        """Return the text of tokens with special tokens and without any clean-up of spaces."""
        return str(self.tokenizer.decode(list(ids), skip_special_tokens=False, clean_up_tokenization_spaces=False))

    def _targets(self, turn: TurnText, ending: str, prompt: list[int]) -> Iterator[list[int]]:
        """Yield ways to write the target after the prompt's tokens. Each decodes to the same text as the whole."""
        whole = self.ids(ending + turn.target)
        if whole[: len(prompt)] == prompt:
            yield whole[len(prompt) :]
        text = self.decode(whole)
        alone = self.ids(turn.target)
        if self.decode(prompt + alone) == text:
            yield alone
        # Tokenize it after a stop token: some tokenizers treat the start of a text differently.
        inside = self.ids(turn.stop + turn.target)[1:]
        if self.decode(prompt + inside) == text:
            yield inside

    def anchor(self, turn: TurnText) -> Anchor | None:
        """Return the last added token of the turn's prompt, or None if it has none."""
        token, ending, ids = self._usual_ending
        if not ending or not turn.text.startswith(ending, turn.start - len(ending)):
            found = self._last_added(turn.text, turn.start - WINDOW, turn.start)
            found = found or self._last_added(turn.text, 0, turn.start)
            if found is None:
                return None
            token, ending = found.group(), turn.text[found.start() : turn.start]
            ids = tuple(self.ids(ending))
            # Most prompts have the same ending, so keep it for the next one.
            self._usual_ending = Ending(token, ending, ids)
        return Anchor(token, turn.start - len(ending), ids)

    def _last_added(self, text: str, start: int, end: int) -> re.Match[str] | None:
        """Return the last added token in a part of a text. The match is checked against the tokens later."""
        found = None
        for match in self.added.finditer(text, max(0, start), end) if self.added else ():
            found = match
        return found
