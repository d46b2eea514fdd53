"""Parse and check requests for OpenAI chat completions. Answers none.

A key that would change the answer and is not supported is refused, never ignored.
"""

import json
from collections.abc import Mapping
from typing import Annotated, Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

_REFUSED: Mapping[str, Any] = {
    "stop": [],
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
    "parallel_tool_calls": True,
    "ignore_eos": False,
    "stop_token_ids": [],
    "bad_words": [],
    "chat_template": None,
    "continue_final_message": False,
    "structured_outputs": None,
    "skip_special_tokens": False,  # the text includes the special tokens that the model wrote
}
"""Keys that are not supported, with the value that would change nothing."""


class RequestError(Exception):
    """A request that cannot be answered: HTTP status and message."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


class StreamOptions(BaseModel):
    """What a stream contains besides the answer."""

    include_usage: bool = False


class PromptRequest(BaseModel):
    """The parts of a prompt. Other keys are ignored unless they would change the answer."""

    model_config = ConfigDict(extra="allow", protected_namespaces=())

    model: str | None = None
    messages: Annotated[list[dict[str, Any]], Field(min_length=1)]
    tools: list[dict[str, Any]] | None = None
    add_generation_prompt: bool = True
    chat_template_kwargs: dict[str, Any] | None = None

    @field_validator("messages")
    @classmethod
    def _join_text_parts(cls, messages: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """Join content that is a list of text parts. Other parts stay, and the message is refused later."""
        return [
            {**message, "content": "".join(part["text"] for part in message["content"])}
            if isinstance(message.get("content"), list) and all(map(_is_text, message["content"]))
            else message
            for message in messages
        ]


def _is_text(part: Any) -> bool:
    return isinstance(part, dict) and part.get("type") == "text" and isinstance(part.get("text"), str)


class ChatRequest(PromptRequest):
    """A request for one answer. The default `temperature` is 1, as in OpenAI's API."""

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
        """The limit of the answer in tokens, or None if the client sets none."""
        return self.max_completion_tokens or self.max_tokens

    @property
    def reads_calls(self) -> bool:
        """Whether the calls in the answer are separated from its content."""
        return bool(self.tools) and self.tool_choice != "none"


Request = TypeVar("Request", bound=PromptRequest)


def read_json_object(body: bytes) -> dict[str, Any]:
    """Return the JSON object of a request. Raises `RequestError`."""
    try:
        value = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise RequestError(400, f"the request is not JSON: {error}") from error
    if not isinstance(value, dict):
        raise RequestError(400, "the request is not a JSON object")
    return value


def read_request(kind: type[Request], body: Mapping[str, Any]) -> Request:
    """Return a checked request. Raises `RequestError` with every key that is wrong or not supported."""
    refused = [key for key, neutral in _REFUSED.items() if body.get(key) not in (None, neutral)]
    if body.get("temperature") == 0:  # greedy decoding takes the most likely token, which these never exclude
        refused = [key for key in refused if key not in ("top_p", "top_k", "min_p")]
    if refused:
        raise RequestError(400, f"this small server does not support {', '.join(refused)}; leave them out, or use vLLM")
    try:
        return kind.model_validate(body)
    except ValidationError as error:
        problems = [f"{'.'.join(map(str, item['loc']))}: {item['msg']}" for item in error.errors(include_url=False)]
        raise RequestError(400, "; ".join(problems)) from error
