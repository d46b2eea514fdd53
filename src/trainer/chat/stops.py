"""Find the token that ends an assistant turn, from what a template writes behind the turn's last word."""

import re
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Stop:
    """The token that ends an assistant turn.

    `after` is what the template writes behind it at the end of a conversation. `opens_next` is true where
    the template writes no end at all: the turn ends with the token that opens the next one.
    """

    token: str
    after: str = ""
    opens_next: bool = False


def find_talk_stop(final: str, history: str, added: re.Pattern[str]) -> Stop | None:
    """The end of a turn of plain text.

    `final` is what follows its last word at the end of a conversation, `history` what follows it when the
    conversation goes on; `added` finds added tokens. What both have in common belongs to the turn, so its
    last added token is the stop; a template that ends the last turn differently (gpt-oss) has none in
    common, and the first one counts. None where no added token ends the turn.
    """
    found = list(added.finditer(final))
    shared = [match for match in found if match.end() <= shared_length(final, history)]
    return _stop(final, (shared[-1:] or found[:1])) or _next_turn_stop(final, history, added)


def find_call_stop(final: str, history: str, added: re.Pattern[str], *, talk: Stop | None) -> Stop | None:
    """The end of a turn with a tool call: as that of plain text if it ends so, or else its last added token.

    The text of a call may itself close with added tokens, so the first one says nothing.
    """
    found = list(added.finditer(final))
    shared = shared_length(final, history)
    usual = [match for match in found if talk and match.group() == talk.token and match.end() <= shared]
    return _stop(final, (usual[:1] or found[-1:])) or _next_turn_stop(final, history, added)


def shared_length(first: str, second: str) -> int:
    """How many characters two texts have in common from their start."""
    for index, (one, other) in enumerate(zip(first, second, strict=False)):
        if one != other:
            return index
    return min(len(first), len(second))


def _stop(final: str, chosen: list[re.Match[str]]) -> Stop | None:
    return Stop(chosen[0].group(), after=final[chosen[0].end() :]) if chosen else None


def _next_turn_stop(final: str, history: str, added: re.Pattern[str]) -> Stop | None:
    """The token that opens the next turn, if it follows at once what ends the conversation."""
    opening = added.search(history)
    if opening is None or history[: opening.start()] != final:
        return None
    return Stop(opening.group(), opens_next=True)
