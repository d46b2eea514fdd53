"""One exchange of a live conversation: the user's message, calls and their results, and the answer in prose."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Protocol

from trainer.data.domains import LivePrompt
from trainer.endpoint import Generation, chat_request
from trainer.live_chat.answers import Answerer, Reply
from trainer.live_chat.executing import ToolRunner
from trainer.tools import ToolSpecs
from trainer.types import Call, CallStatus, Message, ParsedCall, ToolCallJson

MOST_ROUNDS = 8
"""How often a model may call tools before it answers in prose."""

BROKEN: Mapping[CallStatus, str] = {
    "invalid_json": "its arguments are not JSON",
    "unclosed": "it has no end",
    "missing_name": "it names no tool",
    "bad_arguments": "its arguments are not an object of values",
    "truncated": "it is cut at the limit of the answer",
}
"""Why an attempt at a call cannot be read."""


class CommandGiven(Exception):
    """Somebody wrote a command where the result of a tool was asked for."""

    def __init__(self, line: str) -> None:
        super().__init__(line)
        self.line = line


@dataclass
class LiveConversation:
    """A conversation that began at a moment, with the trained prompt of that moment. `messages` follow the prompt."""

    now: datetime
    prompt: LivePrompt
    messages: list[Message] = field(default_factory=list)

    @property
    def all_messages(self) -> list[Message]:
        """The system message, if there is one, and everything after it."""
        return [*self.prompt.messages, *self.messages]

    def undo(self) -> Message | None:
        """Remove the last message of the user and what followed it. Returns that message; None if there is none."""
        starts = [index for index, message in enumerate(self.messages) if message["role"] == "user"]
        if not starts:
            return None
        removed = self.messages[starts[-1]]
        del self.messages[starts[-1] :]
        return removed


class Audience(Protocol):
    """Sees what happens in an exchange, and says what a tool returns if no simulator runs it.

    `ask_result` raises `CommandGiven`, or `EOFError` at the end of the input.
    """

    def begin_answer(self) -> None: ...
    def prose(self, piece: str) -> None: ...
    def end_answer(self, reply: Reply) -> None: ...
    def call(self, call: Call, problems: Sequence[str]) -> None: ...
    def broken(self, attempt: ParsedCall, reason: str) -> None: ...
    def result(self, text: str) -> None: ...
    def note(self, text: str) -> None: ...
    def ask_result(self, call: Call) -> str: ...


@dataclass(frozen=True)
class Exchanger:
    """How an exchange is held: who answers, with which settings, who runs the tools, and who looks on."""

    answerer: Answerer
    generation: Generation
    tools: ToolRunner
    audience: Audience

    def say(self, conversation: LiveConversation, text: str) -> None:
        """Add the user's message, and ask until the model answers in prose. Raises what `Answerer.answer` raises."""
        conversation.messages.append({"role": "user", "content": text})
        for _ in range(MOST_ROUNDS):
            if not self._ask(conversation):
                return
        self.audience.note(
            f"stopped after {MOST_ROUNDS} rounds of calls without an answer in prose; write on, or /undo"
        )

    def _ask(self, conversation: LiveConversation) -> bool:
        """Ask once and run the calls. Returns whether the model has to be asked again."""
        tools = conversation.prompt.tools
        body = chat_request(conversation.all_messages, tools, self.generation, day=conversation.now.date())
        self.audience.begin_answer()
        reply = self.answerer.answer(body, on_prose=self.audience.prose)
        self.audience.end_answer(reply)
        if reply.finish_reason == "length" and not reply.calls:
            self._note_cut(reply)
        if not reply.calls:
            conversation.messages.append(_prose_turn(reply))
            return False
        specs = ToolSpecs(tools)
        broken = [(attempt, reason) for attempt in reply.calls if (reason := broken_reason(attempt, specs))]
        for attempt, reason in broken:
            self.audience.broken(attempt, reason)
        if broken:
            # What was written stays in the conversation as text, and is never trained on.
            conversation.messages.append({"role": "assistant", "content": reply.text, "train": False})
            self.audience.note("no call of this answer is run; write on, or /undo")
            return False
        calls = [Call(call.name or "", dict(call.arguments or {})) for call in reply.calls]
        self._run(conversation, reply, calls, specs)
        return True

    def _run(self, conversation: LiveConversation, reply: Reply, calls: Sequence[Call], specs: ToolSpecs) -> None:
        problems = [[violation.message for violation in specs.violations(call)] for call in calls]
        results: list[Message] = []
        for call, wrong in zip(calls, problems, strict=True):
            self.audience.call(call, wrong)
            if self.tools.can_run:
                text = self.tools.run(call)
                self.audience.result(text)
            else:
                text = self.audience.ask_result(call)
            results.append({"role": "tool", "content": text})
        turn: Message = {"role": "assistant", "content": reply.content, "tool_calls": [_as_json(one) for one in calls]}
        if any(problems):
            turn["train"] = False
        conversation.messages += [turn, *results]

    def _note_cut(self, reply: Reply) -> None:
        n_used = (reply.n_prompt_tokens or 0) + (reply.n_tokens or 0)
        if n_used >= self.answerer.max_context_tokens:
            self.audience.note(
                f"cut: the conversation has reached {self.answerer.max_context_tokens:,} tokens, the limit of the "
                "training; /undo or /reset"
            )
        else:
            self.audience.note(f"cut at {reply.n_tokens} tokens (--max-new-tokens)")


def broken_reason(attempt: ParsedCall, specs: ToolSpecs) -> str | None:
    """Return why an attempt cannot be run; None if it is a well-formed call of an offered tool."""
    if attempt.status != "ok":
        return BROKEN[attempt.status]
    if attempt.name not in specs:
        return f"there is no tool {attempt.name}; known: {', '.join(specs.names) or 'none'}"
    return None


def _prose_turn(reply: Reply) -> Message:
    turn: Message = {"role": "assistant", "content": reply.content}
    if reply.finish_reason == "length" or not reply.content.strip():
        turn["train"] = False  # it lacks its end
    return turn


def _as_json(call: Call) -> ToolCallJson:
    arguments: Any = call.arguments
    return {"type": "function", "function": {"name": call.name, "arguments": arguments}}


Begin = Callable[[], LiveConversation]
"""Begins a conversation now."""
