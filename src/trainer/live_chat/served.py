"""Answer with a running OpenAI-compatible server. Each answer comes as a whole; nothing is streamed. Needs no torch."""

import asyncio
import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from trainer.endpoint import Endpoint, EndpointSettings
from trainer.endpoint.answer import parse_calls
from trainer.errors import EndpointError
from trainer.live_chat.answers import OnProse, Reply, too_long
from trainer.tool_calls import ToolCallFormat

logger = logging.getLogger(__name__)


class ServedAnswerer:
    """One model of a server. Calls that the server left in the text are read with the format of the run."""

    def __init__(
        self, endpoint: Endpoint, runner: asyncio.Runner, *, model: str, fmt: ToolCallFormat, max_context_tokens: int
    ) -> None:
        self._endpoint, self._runner, self._model, self._fmt = endpoint, runner, model, fmt
        self._max_context_tokens = max_context_tokens

    @property
    def name(self) -> str:
        """The model's name on the server, and the server's address."""
        return f"{self._model} at {self._endpoint.url}"

    @property
    def max_context_tokens(self) -> int:
        """The length of the rows of the training. The server may have another limit."""
        return self._max_context_tokens

    def answer(self, body: Mapping[str, Any], *, on_prose: OnProse) -> Reply:
        """See `Answerer`. Raises `EndpointError`, or `DataError` if the conversation is too long."""
        answer = self._runner.run(self._endpoint.chat(body))
        if answer.error is not None:
            if answer.error.startswith("context_too_long"):
                raise too_long(None, self.max_context_tokens)
            raise EndpointError(f"{self._endpoint.url}: {answer.error}")
        written, calls = parse_calls(answer.tool_calls, finish_reason=answer.finish_reason)
        content = answer.content
        if not calls:
            tools = body.get("tools") or ()
            content, calls = self._fmt.parse(content, finished=answer.finish_reason == "stop", tools=tools)
        if content:
            on_prose(content)
        text = "\n".join(part for part in (answer.content, written) if part)
        return Reply(text, content, calls, answer.finish_reason, answer.prompt_tokens, answer.completion_tokens)


@contextmanager
def served_answerer(
    settings: EndpointSettings, *, model: str, fmt: ToolCallFormat, max_context_tokens: int
) -> Iterator[ServedAnswerer]:
    """Yield a connection to a model of a server. Raises `EndpointError` if the server does not offer the model."""
    with asyncio.Runner() as runner:
        endpoint = Endpoint(settings, notify=lambda text: logger.info("%s", text))
        runner.run(endpoint.__aenter__())
        try:
            runner.run(endpoint.require([model]))
            yield ServedAnswerer(endpoint, runner, model=model, fmt=fmt, max_context_tokens=max_context_tokens)
        finally:
            runner.run(endpoint.__aexit__(None, None, None))
