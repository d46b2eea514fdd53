"""xLAM and APIGen rows: one question, the tools, and the calls that answer it."""

from trainer.layouts.layout import Row, add_system
from trainer.messages.calls import read_calls, read_json_calls
from trainer.messages.conversation import Conversation, ConversationDraft
from trainer.messages.message import assistant_message
from trainer.types import Message
from trainer.values.places import described, fail, take_text


def read_xlam(row: Row) -> Conversation:
    """The conversation of a row with `query`, `tools` and `answers`: a user turn and an assistant turn.

    Answers that are plain text, and no list of calls, are the text of the assistant.
    """
    draft = ConversationDraft()
    add_system(draft, row, row.system(draft))
    query = take_text(row.get("query"), row.place("query"), "the question")
    if not query.strip():
        fail(row.place("query"), "the question is blank; write it or remove the row")
    draft.add(0, Message(role="user", content=query))
    answers, where = row.get("answers"), row.place("answers")
    if isinstance(answers, str) and not answers.lstrip().startswith(("[", "{")):
        draft.add(1, assistant_message(answers, [], ""))
    else:
        if not isinstance(answers, str | list | tuple):
            fail(where, f"the answers are {described(answers)}; they must be a list of calls, or its JSON text")
        read = (
            read_json_calls(answers, where, "answers")
            if isinstance(answers, str)
            else read_calls(answers, where, "answers")
        )
        draft.note(*read.converted)
        draft.add(1, assistant_message("", read.calls, ""), structs=read.structs)
    return row.conversation(draft, row.tools(draft))
