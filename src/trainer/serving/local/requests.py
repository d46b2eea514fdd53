"""Check the requests for OpenAI chat completions. Answers none.

A key that would change the answer and is not supported is refused, never ignored. No value is converted: the text "5"
is not a number.
"""

from collections.abc import Mapping
from typing import Annotated, Any, Literal, TypeVar

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError
from pydantic_core import PydanticCustomError

from trainer.serving.local.request_error import RequestError as RequestError
from trainer.values.places import described

_REFUSED: Mapping[str, Any] = {
    "logprobs": False,
    "top_logprobs": 0,
    "response_format": None,
    "top_k": -1,
    "min_p": 0.0,
    "repetition_penalty": 1.0,
    "frequency_penalty": 0.0,
    "presence_penalty": 0.0,
    "length_penalty": 1.0,
    "n": 1,
    "best_of": 1,
    "use_beam_search": False,
    "functions": None,
    "function_call": None,
    "documents": None,
    "reasoning_effort": None,
    "min_tokens": 0,
    "ignore_eos": False,
    "stop_token_ids": [],
    "bad_words": [],
    "allowed_token_ids": None,
    "include_stop_str_in_output": False,
    "truncate_prompt_tokens": None,
    "prompt_logprobs": None,
    "echo": False,
    "add_special_tokens": False,
    "chat_template": None,
    "continue_final_message": False,
    "structured_outputs": None,
    "guided_json": None,
    "guided_regex": None,
    "guided_choice": None,
    "guided_grammar": None,
    "modalities": ["text"],
    "skip_special_tokens": False,  # the text includes the special tokens that the model wrote
}
"""Keys that are not supported, with the value that would change nothing. Null changes nothing either."""

_LARGEST_SEED = 2**63 - 1
_MOST_PROBLEMS = 8


def _one_or_several(value: Any) -> Any:
    return [value] if isinstance(value, str) else value


def _unforced(choice: Any) -> Any:
    if choice in (None, "auto", "none"):
        return choice
    raise PydanticCustomError(
        "tool_choice",
        "it is {found}; this small server cannot force the model to call a tool. Use auto or none, or vLLM",
        {"found": described(choice)},
    )


Bias = Annotated[float, Field(ge=-100, le=100)]
TokenId = Annotated[str, Field(pattern=r"^\d{1,9}$")]
Stop = Annotated[str, Field(min_length=1, max_length=1000)]


class StreamOptions(BaseModel):
    """What a stream contains besides the answer."""

    model_config = ConfigDict(strict=True)

    include_usage: bool | None = None


class PromptRequest(BaseModel):
    """The parts of a prompt. Other keys are ignored unless they would change the answer."""

    model_config = ConfigDict(extra="allow", protected_namespaces=(), strict=True)

    model: str | None = None
    messages: Annotated[list[dict[str, Any]], Field(min_length=1, fail_fast=True)]
    tools: Annotated[list[dict[str, Any]], Field(fail_fast=True)] | None = None
    add_generation_prompt: bool = True
    chat_template_kwargs: dict[str, Any] | None = None


class ChatRequest(PromptRequest):
    """A request for one answer. The default `temperature` is 1, as in OpenAI's API.

    `stop` are up to four texts that end the answer and are not part of it. With `parallel_tool_calls: false`, at most
    one call is handed over: the first one, even if it is malformed.
    """

    tool_choice: Annotated[Literal["auto", "none"] | None, BeforeValidator(_unforced)] = None
    parallel_tool_calls: bool | None = None
    temperature: Annotated[float, Field(ge=0, le=2)] | None = None
    top_p: Annotated[float, Field(ge=0, le=1)] | None = None
    stop: Annotated[Annotated[list[Stop], Field(max_length=4)] | None, BeforeValidator(_one_or_several)] = None
    max_tokens: Annotated[int, Field(ge=1)] | None = None
    max_completion_tokens: Annotated[int, Field(ge=1)] | None = None
    logit_bias: dict[TokenId, Bias] | None = None
    seed: Annotated[int, Field(ge=-_LARGEST_SEED, le=_LARGEST_SEED)] | None = None
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    return_token_ids: bool | None = None

    @property
    def limit(self) -> int | None:
        """The limit of the answer in tokens, or None if the client sets none."""
        return self.max_completion_tokens or self.max_tokens

    @property
    def token_bias(self) -> dict[int, float]:
        """The bias of each token."""
        return {int(token): bias for token, bias in (self.logit_bias or {}).items()}

    @property
    def reads_calls(self) -> bool:
        """Whether the calls in the answer are separated from its content."""
        return bool(self.tools) or self.tool_choice == "none"

    @property
    def most_calls(self) -> int | None:
        """How many calls the client takes, or None for all."""
        if self.tool_choice == "none":
            return 0
        return 1 if self.parallel_tool_calls is False else None


Request = TypeVar("Request", bound=PromptRequest)


def read_request(kind: type[Request], body: Mapping[str, Any]) -> Request:
    """Return a checked request. Raises `RequestError` with every key that is wrong or not supported."""
    refused = [key for key, neutral in _REFUSED.items() if not _changes_nothing(body.get(key), neutral)]
    if body.get("temperature") == 0:  # greedy decoding takes the most likely token, which these never exclude
        refused = [key for key in refused if key not in ("top_k", "min_p")]
    if refused:
        raise RequestError(
            400,
            f"this small server does not support {', '.join(refused)}; leave them out, or use vLLM",
            param=refused[0],
        )
    try:
        return kind.model_validate(body)
    except ValidationError as error:
        found = error.errors(include_url=False, include_input=False)
        problems = [f"{_place(item['loc'])}: {item['msg']}" for item in found[:_MOST_PROBLEMS]]
        raise RequestError(400, "; ".join(problems), param=str(found[0]["loc"][0])[:80]) from error


def _changes_nothing(value: Any, neutral: Any) -> bool:
    if isinstance(value, bool) or isinstance(neutral, bool):
        return value is None or value is neutral
    return value is None or value == neutral


def _place(loc: tuple[int | str, ...]) -> str:
    return ".".join(f"{part:.80}" if isinstance(part, str) else str(part) for part in loc)
