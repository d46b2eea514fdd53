"""Adapt requests to a server that refuses some of their fields. Sends nothing itself."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeVar

OPTIONAL_FIELDS = ("skip_special_tokens", "chat_template_kwargs", "return_token_ids", "cache_salt", "logit_bias")
"""Fields that not every server takes. They are sent if they help, and dropped if the server refuses them.

vLLM refuses `logit_bias` if it decodes speculatively; the others are not in OpenAI's schema.
"""

REFUSALS = (400, 422)
"""The HTTP statuses with which a server refuses a request."""

_NO_PARSER = ("--enable-auto-tool-choice", "--tool-call-parser")


class Refusable(Protocol):
    """The result of a request."""

    @property
    def refusal(self) -> str | None:
        """The server's message if it refuses the request (status 400 or 422), else None."""


Sent = TypeVar("Sent", bound=Refusable)


@dataclass(slots=True)
class Dialect:
    """What a server has refused so far. It holds for the rest of the run, so all turns are requested alike."""

    without_parser: bool = False
    dropped: set[str] = field(default_factory=set)

    def shape(self, body: Mapping[str, Any]) -> dict[str, Any]:
        """Return the request in the form that this server accepts."""
        shaped = {key: value for key, value in body.items() if key not in self.dropped}
        if self.without_parser and shaped.get("tools") and "tool_choice" not in shaped:
            shaped["tool_choice"] = "none"
        return shaped

    def learn(self, sent: Mapping[str, Any], refusal: str) -> str | None:
        """Adapt to the refusal of `sent`. Returns a message for the user, or None if nothing new was learned."""
        if sent.get("tools") and "tool_choice" not in sent and any(flag in refusal for flag in _NO_PARSER):
            if self.without_parser:
                return None
            self.without_parser = True
            return (
                "the server has no tool-call parser: requests use tool_choice none, and calls are read from the text "
                "only (lenient scores)"
            )
        named = [key for key in OPTIONAL_FIELDS if key in sent and key in refusal and key not in self.dropped]
        self.dropped.update(named)
        return f"the server refuses {', '.join(named)}: left out for the rest of the run" if named else None

    async def converse(
        self,
        body: Mapping[str, Any],
        send: Callable[[Mapping[str, Any]], Awaitable[Sent]],
        *,
        notify: Callable[[str], None] = lambda text: None,
    ) -> Sent:
        """Send a request in the form that this server accepts, and again after each refusal that teaches something."""
        while True:
            shaped = self.shape(body)
            sent = await send(shaped)
            if sent.refusal is not None:
                learned = self.learn(shaped, sent.refusal)
                if learned is not None:
                    notify(learned)
                if self.shape(body) != shaped:  # learned now, or from another request in the meantime
                    continue
            return sent
