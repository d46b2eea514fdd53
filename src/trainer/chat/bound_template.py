"""A chat template bound to its tokenizer and its template arguments, and probed: ready to read conversations."""

from collections.abc import Collection, Mapping
from copy import copy
from dataclasses import dataclass, replace
from typing import Any

from jinja2 import TemplateSyntaxError

from trainer.chat.profile import TemplateProfile
from trainer.chat.single_render import find_suffixes
from trainer.chat.template.dates import find_dates
from trainer.chat.template.probe import Probe
from trainer.chat.template.probe_messages import SYSTEM_TURN, TEXT_TURN, USER_TURN
from trainer.chat.template.render import Renderer, Tokenizer
from trainer.chat.template.source import TemplateSource
from trainer.chat.turn_texts import TurnReader
from trainer.errors import TemplateError

_PLAIN_CONVERSATIONS = ((SYSTEM_TURN, USER_TURN, TEXT_TURN), (USER_TURN, TEXT_TURN))


@dataclass(frozen=True)
class BoundTemplate:
    """How a template renders, what probing it has shown, and how turns are read from what it renders."""

    renderer: Renderer
    profile: TemplateProfile
    reader: TurnReader


def bind_template(
    tokenizer: Tokenizer, template_kwargs: Mapping[str, Any], *, for_tools: bool, eos: Collection[str]
) -> BoundTemplate:
    """Probe the template for conversations with or without tools.

    `eos` are the tokens at which a server stops by itself. Raises `TemplateError`.
    """
    source = parsed(template_text(tokenizer, for_tools=for_tools))
    dates = find_dates(source, template_kwargs)
    renderer = Renderer(tokenizer, for_tools, template_kwargs, dates=dates)
    profile = Probe(renderer, source, eos=eos).run()
    renderer = replace(renderer, content_format=profile.content_format)
    tried = (find_suffixes(renderer, source, messages) for messages in _PLAIN_CONVERSATIONS)
    suffixes = next((found for found in tried if found is not None), None)
    profile = replace(profile, preserves_prefixes=suffixes is not None)
    return BoundTemplate(renderer, profile, TurnReader(renderer, profile, suffixes))


def template_text(tokenizer: Tokenizer, *, for_tools: bool) -> str:
    """Return the template for conversations with or without tools. Raises `TemplateError` if there is none."""
    try:
        return str(tokenizer.get_chat_template(None, tools=[{}] if for_tools else None))
    except ValueError as error:
        raise TemplateError(
            f"the tokenizer {tokenizer.name_or_path!r} has no chat template; set model.chat_template_path"
        ) from error


def parsed(text: str) -> TemplateSource:
    """Return the source of a template, parsed. Raises `TemplateError` with the line that cannot be."""
    try:
        return TemplateSource(text)
    except TemplateSyntaxError as error:
        raise TemplateError(f"the chat template cannot be parsed: line {error.lineno}: {error.message}") from error


def with_template(tokenizer: Any, template: str) -> Any:
    """Return a copy of a tokenizer with another chat template. The copy shares everything else."""
    copied = copy(tokenizer)
    copied.chat_template = template
    return copied
