"""Rows with messages in OpenAI form: this project's own, files for fine-tuning, and the older `functions`."""

from trainer.layouts.layout import Row, add_system, add_turns
from trainer.messages.conversation import Conversation, ConversationDraft
from trainer.messages.message import Words


def read_openai(row: Row) -> Conversation:
    """The conversation of a row with a list of messages, and tools under `tools` or `functions`."""
    draft = ConversationDraft()
    add_system(draft, row, row.system(draft))
    if isinstance(row.get("messages"), str):
        draft.note("conversation written as JSON text")
    add_turns(draft, row, Words())
    return row.conversation(draft, row.tools(draft))
