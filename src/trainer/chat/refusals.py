"""Why a conversation cannot be trained with a chat template, in words for people. Names no remedy."""

from trainer.chat.template.stops import shared_length
from trainer.chat.template.thinking import leaves_open


class Refused(Exception):
    """A conversation cannot be trained with the template. `turn` is where, or None if it is no turn's fault."""

    def __init__(self, turn: int | None, reason: str) -> None:
        super().__init__(reason if turn is None else f"turn {turn}: {reason}")
        self.turn, self.reason = turn, reason


def holds_stop(token: str) -> str:
    """Return the reason for a turn whose text contains its stop token."""
    return f"the stop token {token!r} is inside the turn, where a served model would stop; remove it from the text"


def does_not_render(what: str) -> str:
    """Return the reason for a part of a conversation that the template leaves out."""
    verb = "leaves out" if what.startswith("this ") else "does not render"
    return f"the chat template {verb} {what}"


def does_not_continue(prompt: str, final: str) -> str:
    """Return why a rendered turn does not continue its serving prompt."""
    unwritten = prompt[shared_length(prompt, final) :]
    if leaves_open(unwritten):
        return (
            f"its generation prompt ends with {unwritten!r}, which the template does not write before this turn, so no "
            "training text continues the serving prompt"
        )
    return (
        "the template does not write this turn as a continuation of its serving prompt "
        f"(the prompt ends with {prompt[-60:]!r}, the rendered turn with {final[-120:]!r})"
    )
