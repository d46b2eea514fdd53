"""Types that every layer shares: messages, sessions, tool calls, evaluation turns and predictions.

`TypedDict` for JSON that enters or leaves the program, frozen dataclasses for values inside it. Imports no torch.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date
from typing import Any, Literal, NamedTuple, Required, TypedDict

IGNORE_INDEX = -100
"""Label of a token without loss (the value that torch's cross entropy ignores)."""

Role = Literal["system", "user", "assistant", "tool"]

Tool = Mapping[str, Any]
"""A tool schema in OpenAI form: `{"type": "function", "function": {"name", "description", "parameters"}}`."""


class FunctionJson(TypedDict):
    """The function part of a tool call; `arguments` is a JSON string in OpenAI form, or an object."""

    name: str
    arguments: Any


class ToolCallJson(TypedDict, total=False):
    """A tool call in OpenAI form."""

    id: str
    type: str
    function: Required[FunctionJson]


class Message(TypedDict, total=False):
    """One chat message in OpenAI form. `train: False` keeps an assistant turn as context without loss.

    `alternatives` are other answers that count as right when the turn is judged; no model ever sees them.
    """

    role: Required[Role]
    content: str | None
    tool_calls: list[ToolCallJson] | None
    tool_call_id: str | None
    name: str | None
    reasoning_content: str | None
    train: bool | None
    alternatives: list[Any] | None


@dataclass(frozen=True, slots=True)
class Session:
    """One conversation as the model sees it: system message first, tools in this session's own order.

    `day` is the date of the conversation, for chat templates that write the current date; None if it is unknown.
    """

    session_id: str
    messages: tuple[Message, ...]
    tools: tuple[Tool, ...]
    day: date | None = None


@dataclass(frozen=True, slots=True)
class Call:
    """A well-formed tool call: the name and the decoded arguments."""

    name: str
    arguments: dict[str, Any]


@dataclass(frozen=True, slots=True)
class AcceptedCall(Call):
    """A call of an answer that is also right: further accepted values by argument, and arguments that may be absent."""

    values: Mapping[str, tuple[Any, ...]]
    optional: tuple[str, ...]


CallStatus = Literal["ok", "invalid_json", "unclosed", "missing_name", "bad_arguments", "truncated"]


@dataclass(frozen=True, slots=True)
class ParsedCall:
    """One attempt at a tool call in a model's text, well formed or not.

    `status` is "ok" exactly when `name` and `arguments` can be trusted. `raw` is the text of the attempt;
    `start` and `end` are its character span in the whole text.
    """

    status: CallStatus
    raw: str
    start: int
    end: int
    name: str | None = None
    arguments: dict[str, Any] | None = None


class ParsedText(NamedTuple):
    """A model's parsed text: the prose outside the calls, and every attempt at a call in order."""

    content: str
    calls: tuple[ParsedCall, ...]


@dataclass(frozen=True, slots=True)
class EvalTurn:
    """One assistant turn to judge on its true history.

    `messages` are canonical: call arguments are objects. `turn` is the index of the gold message in the session, `day`
    the date of the session. `alternatives` are other sets of calls that are also right.
    """

    session_id: str
    turn: int
    messages: tuple[Message, ...]
    tools: tuple[Tool, ...]
    gold_content: str
    gold_calls: tuple[Call, ...]
    day: date | None = field(default=None, kw_only=True)
    alternatives: tuple[tuple[AcceptedCall, ...], ...] = field(default=(), kw_only=True)


@dataclass(frozen=True, slots=True)
class ToolEvalExample(EvalTurn):
    """An evaluation turn with the tokens that training would use.

    `prompt_ids` are the tokens of the serving prompt, including the generation prompt. `target_ids` are the
    supervised tokens of the gold turn, with its stop token last.
    """

    prompt_ids: tuple[int, ...]
    target_ids: tuple[int, ...]


class CallMargins(NamedTuple):
    """How near a model is to a call, in logits: the largest of the tokens that begin one, minus the largest other one.

    `call` is the margin where gold's call begins; if gold makes none, the largest one in the turn. `stray` is the
    largest one after gold's call has begun and where no other begins: an opening there would break the call.
    """

    call: float
    stray: float = -math.inf


FinishReason = Literal["stop", "length", "error", "skipped_for_length"]


@dataclass(frozen=True, slots=True)
class Prediction:
    """One evaluated turn: gold, the generated text, and the calls parsed from it. A line of `predictions/*.jsonl`.

    `text` is the raw generated text without the stop token; `content` is its prose outside the calls. A failed
    request or a skipped turn is also a prediction, with its `finish_reason` and `error`. `context_hash` identifies
    the history on which the turn was judged; `tool_hashes` identify the schemas of the tools that it offered.
    """

    session_id: str
    turn: int
    context_hash: str
    tool_names: tuple[str, ...]
    gold_content: str
    gold_calls: tuple[Call, ...]
    text: str
    content: str
    calls: tuple[ParsedCall, ...]
    finish_reason: FinishReason
    error: str | None = None
    tool_hashes: tuple[str, ...] = ()
    alternatives: tuple[tuple[AcceptedCall, ...], ...] = ()
