"""Build the prompt of a request with the run's own chat template. Runs no model."""

import json
import threading
from collections import OrderedDict
from collections.abc import Mapping
from typing import Any, cast

from trainer.chat import ChatEncoder
from trainer.chat.bound_template import parsed, template_text
from trainer.data.chat_setup import ChatSetup
from trainer.errors import DataError, TemplateError
from trainer.serving.local.request_error import RequestError
from trainer.serving.local.requests import PromptRequest
from trainer.tools.wire import rendered_tool
from trainer.types import Message

_N_ENCODERS = 8
_MOST_NAMED = 8


class PromptBuilder:
    """The chat template of a run. Several threads may call it; it builds one prompt at a time.

    Of a request's `chat_template_kwargs`, it takes the variables that the template reads, and those that the run sets.
    The names that the server itself sets (messages, tools, add_generation_prompt, …) are never variables.
    """

    def __init__(self, chat: ChatSetup) -> None:
        self._chat = chat
        tokenizer: Any = chat.tokenizer
        texts = {template_text(tokenizer, for_tools=for_tools) for for_tools in (True, False)}
        read = {name for text in texts for name in parsed(text).template_kwargs}
        self._variables = read | set(chat.encoder.template_kwargs)
        self._lock = threading.Lock()  # a tokenizer cannot be used by two threads at once
        self._encoders: OrderedDict[str, ChatEncoder] = OrderedDict()

    def ids(self, request: PromptRequest) -> list[int]:
        """Return the tokens of the prompt. Raises `RequestError`."""
        if not request.add_generation_prompt:
            raise RequestError(400, "add_generation_prompt: only true is supported", param="add_generation_prompt")
        given = request.chat_template_kwargs or {}
        self._refuse_unknown(given)
        try:
            tools = [
                rendered_tool(tool, where=f"tools: tool {position}").tool
                for position, tool in enumerate(request.tools or (), start=1)
            ]
            with self._lock:
                return self._encoder(given).prompt_ids(cast(list[Message], request.messages), tools)
        except (DataError, TemplateError) as error:
            raise RequestError(400, str(error)) from error

    def _refuse_unknown(self, given: Mapping[str, Any]) -> None:
        unknown = [f"{name!r:.80}" for name in given if name not in self._variables]
        if unknown:
            named = ", ".join(unknown[:_MOST_NAMED]) + (" and more" if len(unknown) > _MOST_NAMED else "")
            known = ", ".join(sorted(self._variables)) or "none"
            raise RequestError(
                400,
                f"chat_template_kwargs: the chat template reads no variable {named}; it reads: {known}",
                param="chat_template_kwargs",
            )

    def _encoder(self, given: Mapping[str, Any]) -> ChatEncoder:
        own = self._chat.encoder
        template_kwargs = {**own.template_kwargs, **given}
        if template_kwargs == own.template_kwargs:
            return own
        key = json.dumps(template_kwargs, sort_keys=True, default=repr)
        found = self._encoders.pop(key, None) or ChatEncoder(self._chat.tokenizer, template_kwargs=template_kwargs)
        self._encoders[key] = found
        if len(self._encoders) > _N_ENCODERS:
            self._encoders.popitem(last=False)
        return found
