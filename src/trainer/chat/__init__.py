"""Find the tokens of a conversation that carry loss, for any chat template, and prove them for every row."""

from trainer.chat.encode import ChatEncoder
from trainer.chat.profile import TemplateProfile
from trainer.chat.proof import Span
from trainer.chat.rows import EncodedRow, EncodedSession
from trainer.messages.canonical import canonical_messages

__all__ = [
    "ChatEncoder",
    "EncodedRow",
    "EncodedSession",
    "Span",
    "TemplateProfile",
    "canonical_messages",
]
