"""Find the token that ends an assistant turn, from what a template writes after one. Renders nothing.

A stop token closes the turn. What the next turn begins with does not, although a template may always write the
header of the next answer, and "added" tokens of a tokenizer need not be special: Gemma's has a token for a newline.
"""

import re
from collections.abc import Collection
from copy import copy
from dataclasses import dataclass

from trainer.chat.template.render import Tokenizer, added_token_pattern


@dataclass(frozen=True, slots=True)
class Stop:
    """The token that ends an assistant turn.

    `after` is what the template writes after it at the end of a conversation. `opens_next` is true if the
    template writes no end of a turn: the turn then ends with the token that opens the next one.
    """

    token: str
    after: str = ""
    opens_next: bool = False


@dataclass(frozen=True)
class TurnEnding:
    """What a template writes after the last word of an assistant turn.

    `final` is the text at the end of a conversation, `history` the text when the conversation goes on.
    `always_prompts` says that the template writes the header of an answer at the end even if nobody asks for it.
    """

    final: str
    history: str
    always_prompts: bool = False

    @property
    def n_shared(self) -> int:
        """The number of characters that belong to the turn for certain, because both texts have them."""
        return shared_length(self.final, self.history)


class StopFinder:
    """Finds stop tokens with one tokenizer.

    `eos` are the tokens at which a server stops by itself: the end-of-sequence tokens of the tokenizer and of the
    model's generation config. `openers` are tokens with which turns begin, once they are known.
    """

    def __init__(self, tokenizer: Tokenizer, *, eos: Collection[str]) -> None:
        added = tokenizer.added_tokens_decoder.values()
        special = {str(token.content) for token in added if token.special} | set(eos)
        self.eos, self.openers = frozenset(eos), frozenset[str]()
        self.special = added_token_pattern(special)
        # Some tokenizers mark their closing token as not special. A token of white space is never one.
        self.any = added_token_pattern({token for token in (*tokenizer.get_added_vocab(), *eos) if token.strip()})

    def with_openers(self, *, before: str, between: str) -> "StopFinder":
        """Return a finder that knows the token which opens every turn.

        `before` is the text before the first message, `between` the text between a question and its answer. The token
        is the one of `between` that occurs first in `before`, where a turn can have been opened but none closed.
        """
        usual = {match.group() for match in _matches(self.special, between)}
        opener = next((m.group() for m in _matches(self.special, before) if m.group() in usual - self.eos), None)
        found = copy(self)
        found.openers = frozenset([opener] if opener else [])
        return found

    def text_stop(self, ending: TurnEnding) -> Stop | None:
        """Return the end of a turn of plain text, or None if no token ends it."""
        found = self._find(ending, self.special) or self._find(ending, self.any)
        return found or self._next_turn(ending, self.special) or self._next_turn(ending, self.any)

    def call_stop(self, ending: TurnEnding, *, text_stop: Stop | None) -> Stop | None:
        """Return the end of a turn with a tool call: the stop token of plain text if it is there.

        Otherwise the first token says nothing, because the text of a call may itself end with special tokens.
        """
        shared, final = self._closing(ending, self.special), list(_matches(self.special, ending.final))
        text_token = re.compile(re.escape(text_stop.token)) if text_stop else None
        usual = [] if text_stop is None or text_stop.opens_next else self._closing(ending, text_token)
        own = [match for match in shared if match.group() in self.eos]
        last = [] if ending.always_prompts else final[-1:]
        chosen = usual[:1] or own[:1] or last or shared[-1:]
        return _stop(ending, chosen) or self._next_turn(ending, self.special)

    def _find(self, ending: TurnEnding, pattern: re.Pattern[str] | None) -> Stop | None:
        shared = self._closing(ending, pattern)
        chosen = [match for match in shared if match.group() in self.eos][:1] or shared[-1:]
        if not chosen and not ending.always_prompts:
            # Some templates end the last turn differently from the others (gpt-oss).
            final = [match for match in _matches(pattern, ending.final) if match.group() not in self.openers]
            chosen = [match for match in final if match.group() in self.eos][:1] or final[:1]
        return _stop(ending, chosen)

    def _closing(self, ending: TurnEnding, pattern: re.Pattern[str] | None) -> list[re.Match[str]]:
        """Return the tokens in the text that belongs to the turn, up to one that opens a turn."""
        found = []
        for match in _matches(pattern, ending.final):
            if match.end() > ending.n_shared or match.group() in self.openers:
                break
            found.append(match)
        return found

    def _next_turn(self, ending: TurnEnding, pattern: re.Pattern[str] | None) -> Stop | None:
        """Return the token that opens the next turn, if it directly follows the text that ends a conversation."""
        opening = next(_matches(pattern, ending.history), None)
        if opening is None:
            return None
        between = ending.history[: opening.start()]
        written = ending.final[: ending.n_shared] if ending.always_prompts else ending.final
        return Stop(opening.group(), opens_next=True) if between == written else None


def _matches(pattern: re.Pattern[str] | None, text: str) -> "re._Iterator[re.Match[str]]":  # type: ignore[name-defined]
    return pattern.finditer(text) if pattern else iter(())


def _stop(ending: TurnEnding, chosen: list[re.Match[str]]) -> Stop | None:
    return Stop(chosen[0].group(), after=ending.final[chosen[0].end() :]) if chosen else None


def shared_length(first: str, second: str) -> int:
    """Return how many characters two texts share at their start."""
    for index, (one, other) in enumerate(zip(first, second, strict=False)):
        if one != other:
            return index
    return min(len(first), len(second))
