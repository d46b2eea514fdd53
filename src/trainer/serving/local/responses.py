"""Build the responses and stream chunks of OpenAI chat completions. Runs no model."""

import time
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from trainer.tool_calls import ToolCallFormat
from trainer.tool_calls.served import served_call
from trainer.types import Tool

_CHUNK = "chat.completion.chunk"


@dataclass(frozen=True, slots=True)
class AnswerHead:
    """What the response, or every chunk of its stream, begins with."""

    id: str
    created: int
    model: str

    @classmethod
    def new(cls, model: str) -> "AnswerHead":
        """Return the head of a new answer."""
        return cls(f"chatcmpl-{uuid.uuid4().hex}", int(time.time()), model)

    def fields(self, kind: str) -> dict[str, Any]:
        """Return the keys of an object of this kind."""
        return {"id": self.id, "object": kind, "created": self.created, "model": self.model}


@dataclass(frozen=True, slots=True)
class ChatAnswer:
    """An answer to send. `finish_reason` has OpenAI's values: stop, length or tool_calls."""

    head: AnswerHead
    message: dict[str, Any]
    finish_reason: str
    prompt_ids: Sequence[int]
    token_ids: Sequence[int]
    n_cached: int

    def usage(self) -> dict[str, Any]:
        """Return the token counts."""
        n_prompt, n_completion = len(self.prompt_ids), len(self.token_ids)
        return {
            "prompt_tokens": n_prompt,
            "completion_tokens": n_completion,
            "total_tokens": n_prompt + n_completion,
            "prompt_tokens_details": {"cached_tokens": self.n_cached},
        }


def read_message(
    text: str, *, fmt: ToolCallFormat, tools: Sequence[Tool], finished: bool, most_calls: int | None = None
) -> dict[str, Any]:
    """Return the assistant message of a generated text, with its calls in OpenAI form.

    A malformed attempt is passed on as `served_call` writes it, as the plugin for vLLM does. Of more than `most_calls`
    attempts, the first ones are handed over, well formed or not, and the others are dropped. With 0, only the prose
    is left, which may be empty.
    """
    parsed = fmt.parse(text, finished=finished, tools=tools)
    if not parsed.calls:
        return {"role": "assistant", "content": text}
    if most_calls == 0:
        return {"role": "assistant", "content": parsed.content}
    calls = [
        {"id": f"call_{uuid.uuid4().hex[:24]}", "type": "function", "function": served_call(call)._asdict()}
        for call in parsed.calls[:most_calls]
    ]
    return {"role": "assistant", "content": parsed.content or None, "tool_calls": calls}


def completion(answer: ChatAnswer, *, return_token_ids: bool) -> dict[str, Any]:
    """Return the response for a request without streaming."""
    choice: dict[str, Any] = {"index": 0, "message": answer.message, "finish_reason": answer.finish_reason}
    response = {**answer.head.fields("chat.completion"), "choices": [choice], "usage": answer.usage()}
    if return_token_ids:
        choice["token_ids"] = list(answer.token_ids)
        response["prompt_token_ids"] = list(answer.prompt_ids)
    return response


def opening_chunk(head: AnswerHead) -> dict[str, Any]:
    """Return the first chunk of a stream, which is sent with the first token."""
    return _chunk(head, {"role": "assistant", "content": ""}, None)


def text_chunk(head: AnswerHead, text: str) -> dict[str, Any]:
    """Return a chunk of text."""
    return _chunk(head, {"content": text}, None)


def closing_chunks(answer: ChatAnswer, *, with_text: bool, include_usage: bool) -> list[dict[str, Any]]:
    """Return the last chunks: the message if its text was not sent yet, the finish reason, and the token counts."""
    chunks = []
    if with_text:
        delta = {key: value for key, value in answer.message.items() if key != "role" and value}
        if "tool_calls" in delta:
            delta["tool_calls"] = [{"index": index, **call} for index, call in enumerate(delta["tool_calls"])]
        chunks.append(_chunk(answer.head, delta, None))
    chunks.append(_chunk(answer.head, {}, answer.finish_reason))
    if include_usage:
        chunks.append({**answer.head.fields(_CHUNK), "choices": [], "usage": answer.usage()})
    return chunks


def _chunk(head: AnswerHead, delta: Mapping[str, Any], finish_reason: str | None) -> dict[str, Any]:
    choice = {"index": 0, "delta": dict(delta), "finish_reason": finish_reason}
    return {**head.fields(_CHUNK), "choices": [choice]}
