"""Bring the messages of a conversation into one form, however they were stored. Uses no template and no tokenizer.

Data files, domains with code and requests all go through the same strict rules.
"""

from collections.abc import Sequence
from typing import Any

from trainer.messages.conversation import Conversation, ConversationDraft, add_message
from trainer.messages.message import Words
from trainer.types import Message, Tool
from trainer.values.places import take_list


class CanonicalMessages(tuple[Message, ...]):
    """A conversation in canonical form. `canonical_messages` returns it unchanged."""

    __slots__ = ()


def canonical_messages(messages: Sequence[Message]) -> CanonicalMessages:
    """Return the conversation in canonical form. Canonical messages come back equal.

    Content is text. Call arguments are decoded objects and keep the nulls of the source. Calls have
    `type: "function"` and an id; each tool result has the id of its call, and results follow the order of the calls.
    Only assistant turns that are excluded from the loss keep `train: False`; `weight: 0` means the same.

    Raises:
        DataError: a message is malformed. The text names the turn (its index), what is allowed and what to do.
    """
    if isinstance(messages, CanonicalMessages):
        return messages
    return CanonicalMessages(_drafted(messages, Words(splits_reasoning=False)).finish(None).messages)


def read_messages(messages: Any, tools: Sequence[Tool] | None = None) -> Conversation:
    """Return the conversation of OpenAI messages of training data, with a note for everything that was converted.

    A turn in which nobody says anything is refused. With `tools`, nulls that a table format filled into arguments are
    removed by the tools' schemas. Raises `DataError`.
    """
    draft = _drafted(messages, Words())
    draft.refuse_blank_turns()
    return draft.finish(None if tools is None else tuple(tools))


def _drafted(messages: Any, words: Words) -> ConversationDraft:
    draft = ConversationDraft()
    for turn, message in enumerate(take_list(messages, "", "the conversation")):
        add_message(draft, turn, message, words)
    return draft


def is_trained(message: Message) -> bool:
    """Return whether a canonical message is an assistant turn that carries loss."""
    return message["role"] == "assistant" and message.get("train") is not False
