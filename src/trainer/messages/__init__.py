"""Read chat messages of any origin as one canonical conversation: keys, calls, and the results that answer them."""

from trainer.messages.canonical import CanonicalMessages, canonical_messages, is_trained, read_messages
from trainer.messages.conversation import Conversation, with_tools
from trainer.messages.pairing import pair_results

__all__ = [
    "CanonicalMessages",
    "Conversation",
    "canonical_messages",
    "is_trained",
    "pair_results",
    "read_messages",
    "with_tools",
]
