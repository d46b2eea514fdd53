"""Build chat-completion requests in OpenAI form. Sends nothing."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any

from trainer.tools.wire import wire_tool
from trainer.types import EvalTurn, Message, Tool
from trainer.util.clock import DateArgument


@dataclass(frozen=True, slots=True)
class Generation:
    """The settings that every request of an evaluation has besides the conversation.

    `date_argument` is the template argument with which each request names the day of its session, if there is one.
    `keep_special_tokens` requests text that includes special tokens: some formats use them to mark calls, and a
    server without a parser would drop them. `logit_bias` is the bias of tokens, by their ids as text. `extra_body` is
    merged over everything else.
    """

    model: str
    max_tokens: int
    temperature: float = 0.0
    chat_template_kwargs: Mapping[str, Any] | None = None
    keep_special_tokens: bool = False
    extra_body: Mapping[str, Any] | None = None
    date_argument: DateArgument | None = None
    logit_bias: Mapping[str, float] | None = None


def chat_request(
    messages: Sequence[Message], tools: Sequence[Tool], generation: Generation, *, day: date | None = None
) -> dict[str, Any]:
    """Return the JSON body of a chat-completion request, for a conversation of a day."""
    body: dict[str, Any] = {"model": generation.model, "messages": wire_messages(messages)}
    if tools:
        body["tools"] = [wire_tool(tool) for tool in tools]
    body |= {"max_tokens": generation.max_tokens, "temperature": generation.temperature}
    dated = generation.date_argument.on(day) if generation.date_argument and day else {}
    if template_kwargs := {**(generation.chat_template_kwargs or {}), **dated}:
        body["chat_template_kwargs"] = template_kwargs
    if generation.keep_special_tokens:
        body["skip_special_tokens"] = False
    if generation.logit_bias:
        body["logit_bias"] = dict(generation.logit_bias)
    return body | dict(generation.extra_body or {})


def turn_request(turn: EvalTurn, generation: Generation) -> dict[str, Any]:
    """Return the request for one evaluation turn, with the tool order and the day of its session."""
    return chat_request(turn.messages, turn.tools, generation, day=turn.day)


def wire_messages(messages: Sequence[Message]) -> list[dict[str, Any]]:
    """Return canonical messages in OpenAI form: arguments are JSON text, every call and result has an id, no `train`.

    Content is null if a turn has only calls. Ids that the data lacks are made up. They have nine letters and
    digits, as Mistral's templates require.
    """
    wire: list[dict[str, Any]] = []
    open_ids: list[str] = []
    n_made_up = 0
    for message in messages:
        shaped: dict[str, Any] = {"role": message["role"], "content": message.get("content") or ""}
        calls = message.get("tool_calls") or ()
        if calls:
            open_ids = []
            for call in calls:
                open_ids.append(call.get("id") or f"call{n_made_up:05}")
                n_made_up += "id" not in call
            shaped["content"] = message.get("content") or None
            shaped["tool_calls"] = [_wire_call(call["function"], i) for call, i in zip(calls, open_ids, strict=True)]
        if message["role"] == "tool":
            call_id = message.get("tool_call_id") or (open_ids[0] if open_ids else "")
            open_ids = [other for other in open_ids if other != call_id]
            shaped["tool_call_id"] = call_id
        shaped |= {key: text for key in ("name", "reasoning_content") if (text := message.get(key))}
        wire.append(shaped)
    return wire


def _wire_call(function: Mapping[str, Any], call_id: str) -> dict[str, Any]:
    arguments = function["arguments"]
    text = arguments if isinstance(arguments, str) else json.dumps(arguments, ensure_ascii=False)
    return {"id": call_id, "type": "function", "function": {"name": function["name"], "arguments": text}}
