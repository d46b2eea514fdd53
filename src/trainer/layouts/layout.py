"""What a layout is: the columns it uses and how it reads a row as a conversation. Knows no particular layout."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from trainer.messages.conversation import Conversation, ConversationDraft, add_message
from trainer.messages.message import Words, read_content
from trainer.tools.forms import tools_of
from trainer.types import Message, Tool
from trainer.values.json_reader import MAX_DEPTH
from trainer.values.places import described, fail, is_too_deep, names, take_date, take_list, take_session_id


class Row(NamedTuple):
    """A row and the layout's columns; parts of the conversation are asked for by what they are."""

    values: Mapping[str, Any]
    columns: Mapping[str, str]

    def get(self, part: str) -> Any:
        """The value of a part; None if the row or the layout has no column for it."""
        return self.values.get(self.columns[part]) if part in self.columns else None

    def has(self, part: str) -> bool:
        """Whether the row has the part's column, with a value or without."""
        return part in self.columns and self.columns[part] in self.values

    def place(self, part: str) -> str:
        """How an error names the part."""
        return f"column {self.columns.get(part, part)}"

    def turns(self) -> Sequence[Any]:
        """The list of the row's messages."""
        return take_list(self.get("messages"), self.place("messages"), "the conversation")

    def tools(self, draft: ConversationDraft) -> tuple[Tool, ...] | None:
        """The row's own tools; None if it has no column for them."""
        found: tuple[Tool, ...] | None = None
        used = ""
        for part in ("tools", "functions"):
            if self.get(part) in (None, ""):  # not given, as in a table where other rows have tools
                continue
            read = tools_of(self.get(part), self.place(part))
            draft.note(*read.converted)
            if found and read.tools:
                fail(self.place(part), f"the row also has tools in column {used}; keep one of them")
            found, used = found or read.tools, used or self.columns[part]
        return found

    def system(self, draft: ConversationDraft) -> str | None:
        """The system prompt of the row's own column; None if it has none."""
        value = self.get("system")
        if value is None:
            return None
        text, notes = read_content(value, self.place("system"), "the system prompt")
        draft.note(*notes)
        return text if text.strip() else None

    def conversation(self, draft: ConversationDraft, tools: tuple[Tool, ...] | None) -> Conversation:
        """The finished conversation with the row's session id and date."""
        draft.refuse_blank_turns()
        session_id = take_session_id(self.get("session_id"), self.place("session_id"))
        return draft.finish(tools, session_id=session_id, date=take_date(self.get("date"), self.place("date")))


Reader = Callable[[Row], Conversation]


@dataclass(frozen=True)
class Layout:
    """One way of storing conversations: its name, and the column of each part of a conversation.

    `roles` are the role words that it knows, with the role that each means.
    """

    name: str
    columns: Mapping[str, str]
    reader: Reader = field(repr=False)
    required: tuple[str, ...] = ("messages",)
    roles: Mapping[str, str] = field(default_factory=dict, repr=False)

    def read(self, row: Mapping[str, Any]) -> Conversation:
        """The conversation of a row.

        Raises:
            DataError: something in the row cannot be read without loss; the text names the turn (its index in the
                row's own list, from 0), what was found, what is allowed and what to do.
        """
        if not isinstance(row, Mapping):
            fail("", f"the row is {described(row)}; it must be an object with the columns of layout {self.name}")
        for part in self.required:
            if row.get(self.columns[part]) is None:
                state = "is null" if self.columns[part] in row else "is missing"
                fail(
                    f"column {self.columns[part]}",
                    f"it {state}; layout {self.name} reads the {part} from it. The row has {names(row)}",
                )
        if is_too_deep(row):
            fail("", f"the row has more than {MAX_DEPTH} nested objects and lists; make it flatter")
        return self.reader(Row(row, self.columns))


def add_system(draft: ConversationDraft, row: Row, text: str | None) -> None:
    """Put the system prompt of a column first."""
    if text is not None:
        draft.add(-1, Message(role="system", content=text))


def check_one_system(draft: ConversationDraft, row: Row) -> None:
    """Refuse a row that has a system prompt in a column and another one as its first turn."""
    first = [message.get("content") for message in draft.messages[:2] if message["role"] == "system"]
    if len(first) < 2 or draft.turns[0] >= 0:
        return
    if first[0] != first[1]:
        fail(f"turn {draft.turns[1]}", f"a system message, but {row.place('system')} has another one; keep one of them")
    del draft.messages[1], draft.turns[1]
    draft.note("system prompt in a column and in the turns, read once")


def add_turns(draft: ConversationDraft, row: Row, words: Words) -> None:
    """Read the messages of a row whose layout has one message per turn."""
    for turn, message in enumerate(row.turns()):
        add_message(draft, turn, message, words)
        if turn == 0:
            check_one_system(draft, row)
