"""Ask a server for turns, with the tokens of prompt and answer if it returns them. Scores nothing."""

import json
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal
from urllib.parse import urlsplit, urlunsplit

from trainer.endpoint import Endpoint, EndpointSettings, Generation, read_address, read_answer, turn_request
from trainer.endpoint.answer import token_limit
from trainer.endpoint.client import Reply
from trainer.endpoint.schedule import ask_turns
from trainer.types import EvalTurn, FinishReason

logger = logging.getLogger(__name__)

Source = Literal["response", "tokenize", "count"]
"""The source of a prompt's tokens: the response itself, POST /tokenize, or only their number in the usage."""


@dataclass(frozen=True, slots=True)
class ServedTurn:
    """A server's tokens and answer for one turn.

    `prompt_ids` is None if the server reports only their number. `answer_ids` may include the stop token; it is None if
    the server returns only the message. `finish_reason` is how the answer ended. `error` is why there is no answer.
    """

    source: Source
    n_prompt: int | None
    prompt_ids: tuple[int, ...] | None
    answer_ids: tuple[int, ...] | None
    content: str
    tool_calls: Any
    error: str | None
    finish_reason: FinishReason


async def ask_with_tokens(
    settings: EndpointSettings,
    turns: Sequence[EvalTurn],
    generation: Generation,
    *,
    on_done: Callable[[int], None] = lambda n_turns: None,
) -> list[ServedTurn]:
    """Return every turn's prompt tokens and greedy answer, in order.

    Raises `EndpointError` if the server does not offer the model.
    """
    tokenizer = EndpointSettings(_tokenize_url(settings.url), settings.api_key, settings.timeout_s)
    async with Endpoint(settings, notify=logger.warning) as endpoint, Endpoint(tokenizer) as tokenize:
        await endpoint.require([generation.model])

        served: dict[int, ServedTurn] = {}

        def keep(turn: EvalTurn, answer: ServedTurn) -> None:
            served[id(turn)] = answer
            on_done(1)

        await ask_turns(
            turns,
            lambda turn: _ask(endpoint, tokenize, turn_request(turn, generation)),
            concurrency=settings.n_connections,
            on_answer=keep,
        )
        return [served[id(turn)] for turn in turns]


async def _ask(endpoint: Endpoint, tokenize: Endpoint, body: Mapping[str, Any]) -> ServedTurn:
    reply = await endpoint.send_chat({**body, "return_token_ids": True})
    if reply.failure is not None:
        return ServedTurn("count", None, None, None, "", None, reply.failure, "error")
    answer = read_answer(reply.body, max_tokens=token_limit(body))
    value = _object(reply)
    source: Source = "response"
    prompt_ids = _ids(value.get("prompt_token_ids"))
    if prompt_ids is None:
        keys = ("model", "messages", "tools", "chat_template_kwargs")
        taken = endpoint.dialect.shape(body)
        request = {key: taken[key] for key in keys if key in taken} | {"add_generation_prompt": True}
        prompt_ids = _ids(_object(await tokenize.post("", request)).get("tokens"))
        source = "count" if prompt_ids is None else "tokenize"
    choices = value.get("choices")
    choice = choices[0] if isinstance(choices, list) and choices and isinstance(choices[0], dict) else {}
    return ServedTurn(
        source=source,
        n_prompt=len(prompt_ids) if prompt_ids is not None else answer.prompt_tokens,
        prompt_ids=prompt_ids,
        answer_ids=_ids(choice.get("token_ids")),
        content=answer.content,
        tool_calls=answer.tool_calls,
        error=answer.error,
        finish_reason=answer.finish_reason,
    )


def _tokenize_url(url: str) -> str:
    """Return the address of `/tokenize`, which vLLM serves next to `/v1` and not under it."""
    parts = urlsplit(read_address(url).full)
    return urlunsplit(parts._replace(path=parts.path.removesuffix("/v1") + "/tokenize"))


def _object(reply: Reply) -> dict[str, Any]:
    if reply.failure is not None:
        return {}
    try:
        value = json.loads(reply.body)
    except (ValueError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}


def _ids(value: Any) -> tuple[int, ...] | None:
    if isinstance(value, list) and value and all(isinstance(item, int) for item in value):
        return tuple(value)
    return None
