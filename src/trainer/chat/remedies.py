"""Find a change of the configuration that makes a refused conversation usable. Each one is tried before it is named."""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from importlib.resources import files
from typing import Any, NamedTuple

from trainer.chat.refusals import Refused
from trainer.errors import DataError, TemplateError
from trainer.messages.canonical import is_trained
from trainer.types import Message, Session

OWN_TEMPLATE = files("trainer").joinpath("templates", "chatml_tools.jinja")
_THINKING_SWITCHES = ("enable_thinking", "thinking")

Encodes = Callable[[Session, str | None, Mapping[str, Any]], bool]
"""Whether a session can be encoded with a template (None: the same one) and template arguments."""


class Remedy(NamedTuple):
    """A change that makes a conversation usable: what the user has to do, and how to try it."""

    advice: str
    session: Session
    template: str | None = None
    template_kwargs: Mapping[str, Any] | None = None


def find_remedy(
    refused: Refused, session: Session, encodes: Encodes, *, template_kwargs: Mapping[str, Any], takes: Sequence[str]
) -> str:
    """Return what makes a refused conversation usable, or that nothing known does.

    `takes` are the keyword arguments that the template takes, `template_kwargs` those that are set.
    """
    found: list[str] = []
    for remedy in _candidates(refused, session, template_kwargs, takes):
        # The second remedy keeps the template: some people cannot change theirs.
        is_other = not found or (remedy.template is None and len(found) < 2)
        try:
            works = is_other and encodes(remedy.session, remedy.template, remedy.template_kwargs or template_kwargs)
        except (DataError, TemplateError):
            works = False
        if works:
            found.append(remedy.advice)
    return ", or ".join(found) or "no other setting that was tried helps; change or remove the conversation"


def _candidates(
    refused: Refused, session: Session, template_kwargs: Mapping[str, Any], takes: Sequence[str]
) -> Iterator[Remedy]:
    for name in _THINKING_SWITCHES:
        if name in takes:
            changed = {**template_kwargs, name: not template_kwargs.get(name, False)}
            shown = ", ".join(f"{key}: {json.dumps(value, ensure_ascii=False)}" for key, value in changed.items())
            yield Remedy(f"set data.chat_template_kwargs to {{{shown}}}", session, template_kwargs=changed)
    own = OWN_TEMPLATE.read_text(encoding="utf-8")
    yield Remedy(f"set model.chat_template_path to {OWN_TEMPLATE}", session, template=own, template_kwargs={})
    if refused.turn is not None and is_trained(session.messages[refused.turn]):
        messages: list[Message] = list(session.messages)
        messages[refused.turn] = {**messages[refused.turn], "train": False}
        if any(map(is_trained, messages)):
            kept = Session(session.session_id, tuple(messages), session.tools, session.day)
            yield Remedy("set train: false on the turn", kept)
