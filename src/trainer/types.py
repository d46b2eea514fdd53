"""The values that every layer shares: messages, sessions, tool calls, evaluation turns and predictions.

`TypedDict` for JSON that crosses the border of the program, frozen dataclasses for what stays inside.
Knows no torch, no file and no tokenizer.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple, Required, TypedDict

IGNORE_INDEX = -100
"""Label of a token that carries no loss (the value that torch's cross entropy skips)."""

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
    """One chat message in OpenAI form. `train: False` keeps an assistant turn as context without loss."""

    role: Required[Role]
    content: str | None
    tool_calls: list[ToolCallJson] | None
    tool_call_id: str | None
    name: str | None
    reasoning_content: str | None
    train: bool | None


@dataclass(frozen=True, slots=True)
class Session:
    """One conversation as the model sees it: system message first, tools in this session's own order."""

    session_id: str
    messages: tuple[Message, ...]
    tools: tuple[Tool, ...]


@dataclass(frozen=True, slots=True)
class Call:
    """A tool call that is well formed: the name and the decoded arguments."""

    name: str
    arguments: dict[str, Any]


CallStatus = Literal["ok", "invalid_json", "unclosed", "missing_name", "bad_arguments", "truncated"]


@dataclass(frozen=True, slots=True)
class ParsedCall:
    """One attempt at a tool call found in model text, well formed or not.

    `status` is "ok" exactly when `name` and `arguments` can be trusted; `raw` is the attempt's text and
    `start`/`end` its span in characters of the whole text.
    """

    status: CallStatus
    raw: str
    start: int
    end: int
    name: str | None = None
    arguments: dict[str, Any] | None = None


class ParsedText(NamedTuple):
    """What a model wrote, taken apart: prose outside the calls, and every attempt at a call in order."""

    content: str
    calls: tuple[ParsedCall, ...]


@dataclass(frozen=True, slots=True)
class EvalTurn:
    """One assistant turn to be judged on its true history.

    `messages` are canonical: call arguments are objects. `turn` is the index of the gold message in the session.
    """

    session_id: str
    turn: int
    messages: tuple[Message, ...]
    tools: tuple[Tool, ...]
    gold_content: str
    gold_calls: tuple[Call, ...]


@dataclass(frozen=True, slots=True)
class ToolEvalExample(EvalTurn):
    """The same with the tokens that training would use.

    `prompt_ids` are the serving prompt's tokens, generation prompt included; `target_ids` are the tokens
    that the gold turn supervises, its stop token last.
    """

    prompt_ids: tuple[int, ...]
    target_ids: tuple[int, ...]


FinishReason = Literal["stop", "length", "error", "skipped_for_length"]


@dataclass(frozen=True, slots=True)
class Prediction:
    """One evaluated turn: gold, what was written, and how it was read. A line of `predictions/*.jsonl`.

    `text` is the raw text that was generated, without the stop token; `content` the prose of it outside
    the calls. A failed request or a skipped turn keeps its place with `finish_reason` and `error`.
    `context_hash` identifies the history that the turn was judged on.
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
