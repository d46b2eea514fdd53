"""A conversation in canonical form, and how a reader puts one together message by message. Knows no layout."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

from trainer.messages.message import Words, message_of, refuse_blank_turn
from trainer.messages.pairing import pair_results
from trainer.tools.arrow_nulls import restore_arguments
from trainer.types import Call, Message, Tool
from trainer.values.places import fail

RESTORED = "nulls that a table format filled in"


class CallPlace(NamedTuple):
    """Where a tool call is: the index of its message, and its own index in that message."""

    message: int
    call: int


@dataclass(frozen=True, slots=True)
class Conversation:
    """One row as canonical messages.

    A system message comes first if the row has one. `tools` are the row's own in OpenAI form: None if the row has no
    place for tools, empty if it has one with nothing in it. `converted` has one entry for each thing that was not
    canonical in the row. `unrestored` are calls whose arguments came as a struct in a row without tools: only the
    schemas can tell which of their nulls Arrow filled in. See `with_tools`.
    """

    messages: tuple[Message, ...]
    tools: tuple[Tool, ...] | None
    session_id: str | None = None
    date: str | None = None
    converted: tuple[str, ...] = ()
    unrestored: tuple[CallPlace, ...] = ()


def with_tools(conversation: Conversation, tools: Sequence[Tool]) -> Conversation:
    """The conversation with `tools` if its row has no place for tools; unchanged if the row has one.

    Raises `DataError` for a null argument that Arrow may have filled in and the schema cannot decide.
    """
    if conversation.tools is not None:
        return conversation
    messages = _restored(conversation.messages, conversation.unrestored, tools, turns=None)
    notes = conversation.converted + (RESTORED,) * (messages != conversation.messages)
    return replace(conversation, messages=messages, tools=tuple(tools), converted=notes, unrestored=())


class ConversationDraft:
    """Collects the messages of a row, each with the turn of the row's own list that it comes from."""

    def __init__(self) -> None:
        self.messages: list[Message] = []
        self.turns: list[int] = []
        self.converted: list[str] = []
        self._structs: list[CallPlace] = []

    def note(self, *what: str) -> None:
        """Record what was converted."""
        self.converted += what

    def add(self, turn: int, message: Message, *, structs: Iterable[int] = ()) -> None:
        """Append a message. `structs` are the indexes of its calls whose arguments came as a struct."""
        self._structs += [CallPlace(len(self.messages), index) for index in structs]
        self.messages.append(message)
        self.turns.append(turn)

    def add_calls(self, turn: int, message: Message, *, structs: Iterable[int] = ()) -> None:
        """Append an assistant turn that has only calls, in a layout that writes calls as turns of their own.

        Directly after an assistant turn they belong to that turn: one generation wrote both.
        """
        last = self.messages[-1] if self.messages else None
        joins = last is not None and last["role"] == "assistant" and last.get("train") == message.get("train")
        if last is None or not joins or message.get("content") or message.get("reasoning_content"):
            self.add(turn, message, structs=structs)
            return
        before = last.setdefault("tool_calls", [])
        assert before is not None
        self._structs += [CallPlace(len(self.messages) - 1, len(before) + index) for index in structs]
        before += message.get("tool_calls") or ()
        self.note("calls joined with the assistant turn before them")

    def refuse_blank_turns(self) -> None:
        """Refuse turns of training data in which nobody says anything."""
        for turn, message in zip(self.turns, self.messages, strict=True):
            refuse_blank_turn(message, f"turn {turn}")

    def finish(
        self, tools: tuple[Tool, ...] | None, *, session_id: str | None = None, date: str | None = None
    ) -> Conversation:
        """The whole conversation, with struct arguments restored and results paired with their calls."""
        if all(turn < 0 for turn in self.turns):
            fail("", "the conversation has no turns; remove the row")
        messages = tuple(self.messages)
        if tools is not None:
            messages = _restored(messages, self._structs, tools, turns=self.turns)
            self.note(*(RESTORED,) * (list(messages) != self.messages))
        return Conversation(
            messages=pair_results(messages, turns=self.turns),
            tools=tools,
            session_id=session_id,
            date=date,
            converted=tuple(self.converted),
            unrestored=tuple(self._structs) if tools is None else (),
        )


def add_message(draft: ConversationDraft, turn: int, message: Any, words: Words) -> None:
    """Read one message of a layout that has one message per turn."""
    read = message_of(message, f"turn {turn}", words)
    draft.note(*read.converted)
    draft.add(turn, read.message, structs=read.structs)


def _restored(
    messages: Sequence[Message], places: Iterable[CallPlace], tools: Sequence[Tool], *, turns: Sequence[int] | None
) -> tuple[Message, ...]:
    schemas = {tool["function"]["name"]: tool["function"].get("parameters") for tool in tools}
    changed = list(messages)
    for place in places:
        message = changed[place.message]
        calls = list(message.get("tool_calls") or ())
        function = calls[place.call]["function"]
        if function["name"] not in schemas:
            continue  # a call to an unknown tool is refused where calls are checked
        turn = place.message if turns is None else turns[place.message]
        where = f"turn {turn}, call {place.call}"
        call = Call(function["name"], function["arguments"])
        arguments = restore_arguments(call, schemas[call.name], where=where).arguments
        calls[place.call] = {**calls[place.call], "function": {"name": call.name, "arguments": arguments}}
        changed[place.message] = {**message, "tool_calls": calls}
    return tuple(changed)
