"""OpenAI's chat completions as JSON: requests checked, responses and stream chunks built. Knows no model.

What would change the answer and is not supported is refused, never ignored.
"""

import json
import time
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from trainer.tool_calls import ToolCallFormat
from trainer.types import Tool

_REFUSED = {
    "stop": None,
    "logprobs": False,
    "top_logprobs": 0,
    "response_format": None,
    "logit_bias": None,
    "top_k": -1,
    "min_p": 0.0,
    "repetition_penalty": 1.0,
    "frequency_penalty": 0.0,
    "presence_penalty": 0.0,
    "top_p": 1.0,
    "n": 1,
    "functions": None,
    "min_tokens": 0,
}
"""Keys that are not supported, with the value that changes nothing."""


class RequestError(Exception):
    """A request that cannot be answered: HTTP status and message."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


class StreamOptions(BaseModel):
    """What a stream carries besides the answer."""

    include_usage: bool = False


class PromptRequest(BaseModel):
    """What a prompt is made of. Keys beyond are ignored unless they would change the answer."""

    model_config = ConfigDict(extra="allow", protected_namespaces=())

    model: str | None = None
    messages: Annotated[list[dict[str, Any]], Field(min_length=1)]
    tools: list[dict[str, Any]] | None = None
    add_generation_prompt: bool = True
    chat_template_kwargs: dict[str, Any] | None = None

    @field_validator("messages")
    @classmethod
    def _join_text_parts(cls, messages: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """Content may come as a list of text parts; other parts stay, and are refused with the message."""
        return [
            {**message, "content": "".join(part["text"] for part in message["content"])}
            if isinstance(message.get("content"), list) and all(map(_is_text, message["content"]))
            else message
            for message in messages
        ]


def _is_text(part: Any) -> bool:
    return isinstance(part, dict) and part.get("type") == "text" and isinstance(part.get("text"), str)


class ChatRequest(PromptRequest):
    """A request for one answer. `temperature` is 1 where it is not given, as everywhere in this protocol."""

    tool_choice: Literal["auto", "none"] | None = None
    temperature: Annotated[float, Field(ge=0, le=2)] | None = None
    max_tokens: Annotated[int, Field(ge=1)] | None = None
    max_completion_tokens: Annotated[int, Field(ge=1)] | None = None
    seed: int | None = None
    stream: bool = False
    stream_options: StreamOptions | None = None
    return_token_ids: bool = False

    @property
    def limit(self) -> int | None:
        """The longest answer, in tokens, where the client says."""
        return self.max_completion_tokens or self.max_tokens

    @property
    def reads_calls(self) -> bool:
        """Whether calls in the answer are taken apart from its content."""
        return bool(self.tools) and self.tool_choice != "none"


Request = TypeVar("Request", bound=PromptRequest)


def read_json_object(body: bytes) -> dict[str, Any]:
    """The JSON object of a request. Raises `RequestError`."""
    try:
        value = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise RequestError(400, f"the request is no JSON: {error}") from error
    if not isinstance(value, dict):
        raise RequestError(400, "the request is no JSON object")
    return value


def read_request(kind: type[Request], body: Mapping[str, Any]) -> Request:
    """A checked request. Raises `RequestError` naming every key that is wrong or not supported."""
    refused = [key for key, neutral in _REFUSED.items() if body.get(key) not in (None, neutral)]
    if body.get("temperature") == 0:  # greedy decoding takes the likeliest token, wherever the tail is cut
        refused = [key for key in refused if key not in ("top_p", "top_k", "min_p")]
    if refused:
        raise RequestError(400, f"this small server does not support {', '.join(refused)}; leave out, or use vLLM")
    try:
        return kind.model_validate(body)
    except ValidationError as error:
        problems = [f"{'.'.join(map(str, item['loc']))}: {item['msg']}" for item in error.errors(include_url=False)]
        raise RequestError(400, "; ".join(problems)) from error


@dataclass(frozen=True, slots=True)
class ChatAnswer:
    """An answer to be sent. `finish_reason` is OpenAI's: stop, length or tool_calls."""

    model: str
    message: dict[str, Any]
    finish_reason: str
    prompt_ids: Sequence[int]
    token_ids: Sequence[int]
    n_cached: int

    def usage(self) -> dict[str, Any]:
        """Token counts."""
        n_prompt, n_completion = len(self.prompt_ids), len(self.token_ids)
        return {
            "prompt_tokens": n_prompt,
            "completion_tokens": n_completion,
            "total_tokens": n_prompt + n_completion,
            "prompt_tokens_details": {"cached_tokens": self.n_cached},
        }


def read_message(text: str, *, fmt: ToolCallFormat, tools: Sequence[Tool], finished: bool) -> dict[str, Any]:
    """The assistant message of a generated text, its calls in OpenAI form.

    A text with any attempt that is no well-formed call stays content as a whole, so that nothing of it is lost.
    """
    parsed = fmt.parse(text, finished=finished, tools=tools)
    if not parsed.calls or any(call.status != "ok" for call in parsed.calls):
        return {"role": "assistant", "content": text}
    calls = [
        {
            "id": f"call_{uuid.uuid4().hex[:24]}",
            "type": "function",
            "function": {"name": call.name, "arguments": json.dumps(call.arguments, ensure_ascii=False)},
        }
        for call in parsed.calls
    ]
    return {"role": "assistant", "content": parsed.content or None, "tool_calls": calls}


def completion(answer: ChatAnswer, *, return_token_ids: bool) -> dict[str, Any]:
    """The whole response."""
    choice: dict[str, Any] = {"index": 0, "message": answer.message, "finish_reason": answer.finish_reason}
    response = {**_head("chat.completion", answer.model), "choices": [choice], "usage": answer.usage()}
    if return_token_ids:
        choice["token_ids"] = list(answer.token_ids)
        response["prompt_token_ids"] = list(answer.prompt_ids)
    return response


def opening_chunk(model: str) -> dict[str, Any]:
    """The first chunk of a stream, sent with the first token."""
    return _chunk(model, {"role": "assistant", "content": ""}, None)


def text_chunk(model: str, text: str) -> dict[str, Any]:
    """A chunk of text."""
    return _chunk(model, {"content": text}, None)


def closing_chunks(answer: ChatAnswer, *, with_text: bool, include_usage: bool) -> list[dict[str, Any]]:
    """The last chunks: the message where its text was not sent yet, why it ended, and the token counts."""
    chunks = []
    if with_text:
        delta = {key: value for key, value in answer.message.items() if key != "role" and value}
        if "tool_calls" in delta:
            delta["tool_calls"] = [{"index": index, **call} for index, call in enumerate(delta["tool_calls"])]
        chunks.append(_chunk(answer.model, delta, None))
    chunks.append(_chunk(answer.model, {}, answer.finish_reason))
    if include_usage:
        chunks.append({**_head("chat.completion.chunk", answer.model), "choices": [], "usage": answer.usage()})
    return chunks


def _chunk(model: str, delta: Mapping[str, Any], finish_reason: str | None) -> dict[str, Any]:
    choice = {"index": 0, "delta": dict(delta), "finish_reason": finish_reason}
    return {**_head("chat.completion.chunk", model), "choices": [choice]}


def _head(kind: str, model: str) -> dict[str, Any]:
    return {"id": f"chatcmpl-{uuid.uuid4().hex}", "object": kind, "created": int(time.time()), "model": model}
