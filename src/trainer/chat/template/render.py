"""Render conversations with a chat template, in the shape in which a server hands them over. Returns text only."""

import json
import re
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from functools import lru_cache
from typing import Any, Protocol

from jinja2 import TemplateError as JinjaError
from jinja2.runtime import LoopContext

from trainer.chat.template.dates import NO_DATES, TemplateDates
from trainer.chat.template.server_shape import ContentFormat, server_message
from trainer.types import Message, Tool


class Tokenizer(Protocol):
    """The part of a `transformers` tokenizer that this package uses."""

    name_or_path: str
    split_special_tokens: bool
    eos_token: str | None
    bos_token: str | None
    special_tokens_map: Mapping[str, Any]

    @property
    def is_fast(self) -> bool: ...
    @property
    def backend_tokenizer(self) -> Any: ...
    @property
    def added_tokens_decoder(self) -> Mapping[int, Any]: ...
    def apply_chat_template(self, conversation: Any, **kwargs: Any) -> Any: ...
    def get_chat_template(self, chat_template: str | None = None, tools: Any = None) -> str: ...
    def get_added_vocab(self) -> dict[str, int]: ...
    def convert_ids_to_tokens(self, ids: Any) -> Any: ...
    def convert_tokens_to_ids(self, tokens: Any) -> Any: ...
    def decode(self, token_ids: Any, **kwargs: Any) -> Any: ...
    def __call__(self, text: Any, **kwargs: Any) -> Any: ...


# The exceptions that Jinja, and the Python operations inside a template, can raise.
FAILURES = (JinjaError, TypeError, ValueError, LookupError, AttributeError, ArithmeticError, RecursionError)
_DICT_ATTRIBUTES = frozenset(dir(dict))
# Attributes that the sandbox allows and returns as they are.
_READ_ONLY_METHODS: Mapping[type, frozenset[str]] = {
    dict: frozenset({"items", "keys", "values", "get"}),
    LoopContext: frozenset({"first", "last", "index", "index0"}),
}
_MOST_REMEMBERED = 20_000  # objects whose JSON text is kept


class RenderError(Exception):
    """The template itself rejected the conversation. The text is the template's own."""


@dataclass(frozen=True, slots=True)
class Renderer:
    """A tokenizer's chat template with its template arguments set. Call it for the text that a server would build.

    `for_tools` chooses between the templates of a tokenizer that has one for conversations with tools.
    """

    tokenizer: Tokenizer
    for_tools: bool = True
    template_kwargs: Mapping[str, Any] = field(default_factory=dict)
    content_format: ContentFormat = "string"
    dates: TemplateDates = NO_DATES

    @property
    def template(self) -> str:
        """The text of the template, as the tokenizer has it now."""
        return str(self.tokenizer.get_chat_template(None, tools=[{}] if self.for_tools else None))

    def shape(self, messages: Sequence[Message]) -> list[dict[str, Any]]:
        """Return canonical messages as the dictionaries that the template reads."""
        return [server_message(message, self.content_format) for message in messages]

    def __call__(
        self,
        messages: Sequence[Message],
        tools: Sequence[Tool],
        *,
        add_generation_prompt: bool,
        day: date | None = None,
    ) -> str:
        """Return the rendered text of canonical messages, on a day, or today as a server's template sees it.

        Raises:
            RenderError: the template raised any kind of error.
        """
        shaped = self.shape(messages)
        return self.text(shaped, tools, add_generation_prompt=add_generation_prompt, day=day)

    def text(
        self,
        shaped: Sequence[dict[str, Any]],
        tools: Sequence[Tool],
        *,
        add_generation_prompt: bool,
        day: date | None = None,
    ) -> str:
        """Return the rendered text of messages that `shape` returned. Raises `RenderError`."""
        variables = self.variables(tools, day)
        try:
            if _has_own_method(type(self.tokenizer)):
                return str(
                    self.tokenizer.apply_chat_template(
                        list(shaped),
                        chat_template=self.template,
                        add_generation_prompt=add_generation_prompt,
                        tokenize=False,
                        **{"tools": variables.pop("tools"), **self.template_kwargs, **self._dated(day)},
                    )
                )
            template = compiled(self.template)
            return str(template.render(messages=shaped, add_generation_prompt=add_generation_prompt, **variables))
        except FAILURES as error:
            raise RenderError(str(error) or type(error).__name__) from error

    def variables(self, tools: Sequence[Tool], day: date | None) -> dict[str, Any]:
        """Return what a template reads besides the messages and `add_generation_prompt`."""
        given = {"tools": list(tools) or None, "documents": None}
        return given | {**self.tokenizer.special_tokens_map, **self.template_kwargs, **self._dated(day)}

    def _dated(self, day: date | None) -> dict[str, Any]:
        return {} if day is None else self.dates.on(day)


@lru_cache
def _has_own_method(kind: type) -> bool:
    """Return whether a class of tokenizers renders in a way of its own."""
    from transformers import PreTrainedTokenizerBase

    return getattr(kind, "apply_chat_template", None) is not PreTrainedTokenizerBase.apply_chat_template


@lru_cache
def compiled(text: str) -> Any:
    """Return a template, compiled as transformers does it, whose `tojson` remembers the text of objects.

    A prompt is rendered for every turn of a session, and most of the time would go into the same tool schemas.
    """
    # The environment has its own tags and filters, and transformers has no public function that returns it.
    from transformers.utils.chat_template_utils import _compile_jinja_template

    original = _compile_jinja_template(text)
    environment = original.environment.overlay()
    environment.filters = {**environment.filters, "tojson": remembered_json}
    environment.getattr = _attribute_reader(environment)
    return environment.from_string(text)


def _attribute_reader(environment: Any) -> Callable[[Any, str], Any]:
    """Return the sandbox's way to read `object.attribute`, without its detour for the keys of a dictionary.

    The sandbox first asks for a Python attribute and catches the error, which takes most of the time of a rendering.
    """
    in_sandbox = environment.getattr

    def read(value: Any, attribute: str) -> Any:
        if attribute in _READ_ONLY_METHODS.get(type(value), ()):
            return getattr(value, attribute)
        if type(value) is dict and attribute not in _DICT_ATTRIBUTES:
            try:
                return value[attribute]
            except KeyError:
                return environment.undefined(obj=value, name=attribute)
        return in_sandbox(value, attribute)

    return read


_remembered: dict[tuple[int, Any, Any, Any, Any], tuple[Any, str]] = {}


def remembered_json(
    x: Any, ensure_ascii: bool = False, indent: Any = None, separators: Any = None, sort_keys: bool = False
) -> str:
    """Return the JSON text of a value as transformers' filter does. Forgotten by `forget_json`."""
    if not isinstance(x, (dict, list)):
        return json.dumps(x, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys)
    key = (id(x), ensure_ascii, indent, separators if separators is None else tuple(separators), sort_keys)
    found = _remembered.get(key)
    if found is None:
        if len(_remembered) > _MOST_REMEMBERED:
            _remembered.clear()
        text = json.dumps(x, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys)
        # The object is kept as well, because another one could get its id.
        found = _remembered[key] = (x, text)
    return found[1]


def forget_json() -> None:
    """Forget the JSON text of all objects, since their owner may change them."""
    _remembered.clear()


def added_token_pattern(added: Collection[str]) -> re.Pattern[str] | None:
    """Return a pattern that finds added tokens in text as the tokenizer does: leftmost, then longest."""
    if not added:
        return None
    return re.compile("|".join(re.escape(token) for token in sorted(added, key=len, reverse=True)))
