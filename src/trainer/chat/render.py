"""Render conversations with a tokenizer's chat template, in the message form that this template needs.

The only module that calls `apply_chat_template`. Returns text only; `proof` tokenizes it.
"""

import json
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

from jinja2 import TemplateError as JinjaError

from trainer.types import Message, Tool, ToolCallJson


class Tokenizer(Protocol):
    """The part of a `transformers` tokenizer that this package uses."""

    name_or_path: str
    split_special_tokens: bool

    @property
    def is_fast(self) -> bool: ...
    @property
    def backend_tokenizer(self) -> Any: ...
    @property
    def added_tokens_decoder(self) -> Mapping[int, Any]: ...
    def apply_chat_template(self, conversation: Any, **kwargs: Any) -> Any: ...
    def get_chat_template(self, chat_template: str | None = None, tools: Any = None) -> str: ...
    def get_added_vocab(self) -> dict[str, int]: ...
    def decode(self, token_ids: Any, **kwargs: Any) -> Any: ...
    def __call__(self, text: Any, **kwargs: Any) -> Any: ...


# The exceptions that Jinja, and the Python operations inside a template, can raise.
FAILURES = (JinjaError, TypeError, ValueError, LookupError, AttributeError, ArithmeticError)


class RenderError(Exception):
    """The template itself rejected the conversation. The text is the template's own."""


@dataclass(frozen=True, slots=True)
class MessageForm:
    """The form in which a template reads messages. Found by probing and applied to every message.

    `blank` is the content of a call turn without text. `parts` wraps content as
    `[{"type": "text", "text": …}]`, the form that templates of vision models read.
    """

    arguments: Literal["object", "string"] = "object"
    blank: Literal["", "null", "missing"] = ""
    reasoning_key: str = "reasoning_content"
    parts: bool = False


@dataclass(frozen=True, slots=True)
class Renderer:
    """A tokenizer's chat template with its template arguments set. Call it for the text that a server would build."""

    tokenizer: Tokenizer
    template_kwargs: Mapping[str, Any] = field(default_factory=dict)
    form: MessageForm = MessageForm()

    def __call__(self, messages: Sequence[Message], tools: Sequence[Tool], *, add_generation_prompt: bool) -> str:
        """Return the rendered text of canonical messages.

        Raises:
            RenderError: the template raised any kind of error.
        """
        try:
            text = self.tokenizer.apply_chat_template(
                [self.shape(message) for message in messages],
                tools=list(tools) or None,
                add_generation_prompt=add_generation_prompt,
                tokenize=False,
                **self.template_kwargs,
            )
        except FAILURES as error:
            raise RenderError(str(error) or type(error).__name__) from error
        return str(text)

    def shape(self, message: Message) -> dict[str, Any]:
        """Return a canonical message as the plain dictionary that the template reads."""
        form = self.form
        shaped: dict[str, Any] = {"role": message["role"]}
        content = message.get("content") or ""
        calls = message.get("tool_calls")
        if content or not calls or not form.blank:
            shaped["content"] = [{"type": "text", "text": content}] if form.parts else content
        elif form.blank == "null":
            shaped["content"] = None
        if calls:
            shaped["tool_calls"] = [self._shape_call(call) for call in calls]
        for key in ("tool_call_id", "name"):
            if key in message:
                shaped[key] = message[key]
        if message.get("reasoning_content"):
            shaped[form.reasoning_key] = message["reasoning_content"]
        return shaped

    def _shape_call(self, call: ToolCallJson) -> dict[str, Any]:
        function = call["function"]
        arguments = function["arguments"]
        if self.form.arguments == "string":
            arguments = json.dumps(arguments, ensure_ascii=False)
        return {**call, "function": {"name": function["name"], "arguments": arguments}}


def added_token_pattern(added: Collection[str]) -> re.Pattern[str] | None:
    """Return a pattern that finds added tokens in text as the tokenizer does: leftmost, then longest."""
    if not added:
        return None
    return re.compile("|".join(re.escape(token) for token in sorted(added, key=len, reverse=True)))
