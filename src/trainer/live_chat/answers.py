"""What answers a live conversation: in process or a server. Shows nothing and runs no tool."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from trainer.errors import DataError
from trainer.types import FinishReason, ParsedCall

OnProse = Callable[[str], None]
"""Receives the next piece of an answer's prose while the answer is being written."""


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer: everything that the model wrote (`text`), its prose (`content`), and every attempt at a call.

    The token counts are None if a server does not report them.
    """

    text: str
    content: str
    calls: tuple[ParsedCall, ...]
    finish_reason: FinishReason
    n_prompt_tokens: int | None = None
    n_tokens: int | None = None


class Answerer(Protocol):
    """A model that answers chat-completion requests, one after the other."""

    @property
    def name(self) -> str:
        """What answers, for people."""

    @property
    def max_context_tokens(self) -> int:
        """The most tokens that a conversation may have."""

    def answer(self, body: Mapping[str, Any], *, on_prose: OnProse) -> Reply:
        """Return the answer to a request in OpenAI form. `on_prose` receives the prose, all of it, as it comes.

        Raises `ToolSftError` if there is no answer, and `KeyboardInterrupt` if Ctrl-C stops it.
        """


def too_long(n_tokens: int | None, limit: int) -> DataError:
    """Return the error of a conversation that leaves no room for an answer. `n_tokens` None: not known."""
    length = "is" if n_tokens is None else f"has {n_tokens:,} tokens and is"
    return DataError(
        f"the conversation {length} too long: the model was trained with at most {limit:,} tokens; /undo takes back "
        "the last turn, /reset begins again, and `data.max_context_length` of a new training sets the limit"
    )
