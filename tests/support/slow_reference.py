"""The slow, obvious reference for training text: what vLLM's server renders, and what a person reads in a template.

Nothing of `trainer.chat` is used here. The shape of messages is that of `vllm_rules`, and the tokens that end a turn
are given by the caller.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date, datetime, time
from functools import partial
from typing import Any

from jinja2 import TemplateError

from tests.support.vllm_rules import (
    ContentFormat,
    content_format,
    server_messages,
    server_template_kwargs,
    server_tools,
    template_text,
)
from trainer.endpoint.request import wire_messages
from trainer.tools.wire import wire_tool
from trainer.types import Message, Session, Tool

MARK = "qzmarkedqz"
# What a template raises, and what Python raises inside one.
FAILURES = (TemplateError, TypeError, ValueError, LookupError, AttributeError)

_texts: dict[str, str] = {}


@dataclass(frozen=True)
class Manual:
    """What a person can read in a template: how its turns end.

    `stop_text` and `stop_call` end a turn without and with calls. `appended` means that a rendered conversation ends
    without them, because they open the next turn. `kwargs` are the template arguments. `unwritten` is the end of the
    generation prompt that the template leaves out when it writes the turn itself. `header` begins an answer, which is
    needed if the template changes the text before an answer once it is there. `date_argument` is the argument that
    takes the date, and its format.
    """

    stop_text: str
    stop_call: str = ""
    kwargs: Mapping[str, Any] = field(default_factory=dict)
    appended: bool = False
    unwritten: str = ""
    header: str = ""
    date_argument: tuple[str, str] | None = None

    def stop(self, message: Message) -> str:
        """Return the token that ends a turn."""
        return self.stop_call if message.get("tool_calls") else self.stop_text

    def with_kwargs(self, kwargs: Mapping[str, Any]) -> "Manual":
        """Return the same reading with template arguments set."""
        return replace(self, kwargs=kwargs)

    def dated(self, day: date) -> dict[str, Any]:
        """Return the template arguments of a request on a day."""
        if self.date_argument is None or self.date_argument[0] in self.kwargs:
            return dict(self.kwargs)
        name, form = self.date_argument
        return {name: day.strftime(form), **self.kwargs}


@dataclass(frozen=True)
class Server:
    """A server with one tokenizer, that is asked on one day."""

    tokenizer: Any
    manual: Manual
    day: date
    content_format: ContentFormat | None = None

    def text(self, messages: Sequence[Message], tools: Sequence[Tool], *, prompt: bool) -> str:
        """Return the rendered conversation, with or without a generation prompt. Raises what the template raises."""
        wire = [wire_tool(tool) for tool in tools]
        template = template_text(self.tokenizer, with_tools=bool(wire))
        form = self.content_format or content_format(template)
        arguments = server_template_kwargs(template, self.manual.dated(self.day))
        shown = (server_messages(wire_messages(messages), form), server_tools(wire) if wire else None)
        # A text depends on nothing else of the tokenizer.
        key = repr((self.tokenizer.special_tokens_map, template, arguments, self.day, shown, prompt))
        if key not in _texts:
            if "strftime_now" not in arguments:
                arguments["strftime_now"] = datetime.combine(self.day, time(12)).strftime
            _texts[key] = str(
                self.tokenizer.apply_chat_template(
                    shown[0],
                    tools=shown[1],
                    chat_template=template,
                    add_generation_prompt=prompt,
                    tokenize=False,
                    **arguments,
                )
            )
        return _texts[key]

    def prompt_ids(self, messages: Sequence[Message], tools: Sequence[Tool]) -> list[int]:
        """Return the tokens of the prompt for the next turn."""
        return list(self.tokenizer(self.text(messages, tools, prompt=True), add_special_tokens=False)["input_ids"])

    def decode_after(self, prompt: Sequence[int], ids: Sequence[int]) -> str:
        """Return the text that tokens add to the text of a prompt."""
        decode = partial(self.tokenizer.decode, skip_special_tokens=False, clean_up_tokenization_spaces=False)
        return str(decode([*prompt, *ids]))[len(decode([*prompt])) :]

    def accepts(self, session: Session, turn: int) -> bool:
        """Return whether the template renders a turn and its prompt."""
        try:
            self.text(session.messages[:turn], session.tools, prompt=True)
            self.text(session.messages[: turn + 1], session.tools, prompt=False)
        except FAILURES:
            return False
        return True

    def continues(self, session: Session, turn: int) -> bool:
        """Return whether a rendered turn begins with its prompt."""
        prompt = self.text(session.messages[:turn], session.tools, prompt=True)
        return self.text(session.messages[: turn + 1], session.tools, prompt=False).startswith(prompt)

    def special_tokens_after(self, session: Session, turn: int) -> list[str]:
        """Return the special tokens after the last word of an answer, also if another question follows."""
        answer: Message = {"role": "assistant", "content": MARK}
        question: Message = {"role": "user", "content": "Hi"}
        texts = [
            self.text([*session.messages[:turn], answer, *more], session.tools, prompt=False)
            for more in ((), (question,))
        ]
        special = [token.content for token in self.tokenizer.added_tokens_decoder.values() if token.special]
        return [token for token in special for text in texts if token in text.rpartition(MARK)[2].partition("Hi")[0]]

    def target(self, session: Session, turn: int) -> str:
        """Return what the model must write in a turn: what the rendered turn adds to the prompt, to its stop token."""
        prompt = self.text(session.messages[:turn], session.tools, prompt=True)
        written = self.text(session.messages[: turn + 1], session.tools, prompt=False)
        if not written.startswith(prompt) and self.manual.header:
            assert prompt.endswith(self.manual.header)
            prompt = written[: written.rindex(self.manual.header) + len(self.manual.header)]
        elif not written.startswith(prompt):
            assert self.manual.unwritten
            assert prompt.endswith(self.manual.unwritten)
            prompt = prompt.removesuffix(self.manual.unwritten)
        assert written.startswith(prompt)
        added, stop = written[len(prompt) :], self.manual.stop(session.messages[turn])
        return added + stop if self.manual.appended else added[: added.index(stop) + len(stop)]


def trained_turns(session: Session) -> list[int]:
    """Return the indices of the turns that carry loss."""
    return [
        turn
        for turn, message in enumerate(session.messages)
        if message["role"] == "assistant" and message.get("train") is not False
    ]


def is_true_refusal(server: Server, session: Session, refusal: str) -> bool:
    """Return whether a refusal is right, judged by what the server renders."""
    found = re.search(r", turn (\d+): (.*)", refusal, re.DOTALL)
    turn, reason = (int(found[1]), found[2]) if found else (None, refusal)
    if missing := re.search(r"the chat template (?:does not render|leaves out) (.*)", reason):
        return lacks(server, session, turn, missing[1])
    turns = trained_turns(session) if turn is None else [turn]
    if "rejects" in reason:
        return any(not server.accepts(session, turn) for turn in turns)
    if "generation prompt ends with" in reason or "continuation of its serving prompt" in reason:
        return any(not server.continues(session, turn) for turn in turns)
    if inside := re.search(r"the stop token '(.*)' is inside the turn", reason):
        return turn is not None and inside[1] in str(session.messages[turn])
    if "no special token ends" in reason:
        return any(not server.special_tokens_after(session, turn) for turn in turns)
    raise AssertionError(f"a refusal that this test does not know: {refusal}")


def lacks(server: Server, session: Session, turn: int | None, what: str) -> bool:
    """Return whether the server's text lacks part of a turn: a mark in its place never comes out."""
    messages, tools = list(session.messages), list(session.tools)
    if turn is None:
        assert what == "tool schemas"
        tools = [{**tool, "function": {**tool["function"], "name": MARK}} for tool in tools]
    else:
        messages[turn] = _marked(messages[turn], what)
    for end in trained_turns(session):
        # What the model writes must be there when it writes it, and the rest in every later prompt.
        if turn is None or end == turn or (end > turn and turn not in trained_turns(session)):
            try:
                text = server.text(messages[: end + 1], tools, prompt=False)
            except FAILURES:
                return True
            if MARK not in text:
                return True
    return False


def _marked(message: Message, what: str) -> Message:
    """Return a message with a mark in the part that a refusal names."""
    if what == "reasoning":
        return {**message, "reasoning_content": MARK}
    if what in ("tool calls", "several calls in a turn"):
        calls: list[Any] = [dict(call) for call in message["tool_calls"] or ()]
        number = 0 if what == "tool calls" else 1
        calls[number] = {**calls[number], "function": {**calls[number]["function"], "arguments": {"brand": MARK}}}
        return {**message, "tool_calls": calls}
    role = {"tool results": "tool", "system message": "system", "content with a call": "assistant"}.get(what)
    assert message["role"] == (role or what.split()[1])
    return {**message, "content": MARK}
