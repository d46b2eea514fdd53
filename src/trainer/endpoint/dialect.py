"""Adapt requests to what a server turns out not to take. Sends nothing itself."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeVar

OPTIONAL_FIELDS = ("skip_special_tokens", "chat_template_kwargs", "return_token_ids")
"""Fields beyond the OpenAI schema that are sent where they help, and dropped where a server refuses them."""

REFUSALS = (400, 422)
"""HTTP status of a server that does not take a request as it is."""

_NO_PARSER = ("--enable-auto-tool-choice", "--tool-call-parser")


class Refusable(Protocol):
    """What came of a request."""

    @property
    def refusal(self) -> str | None:
        """The server's words where it does not take the request (status 400 or 422), else None."""


Sent = TypeVar("Sent", bound=Refusable)


@dataclass(slots=True)
class Dialect:
    """What a server was found not to take; holds for the rest of a run, so that every turn is asked alike."""

    without_parser: bool = False
    dropped: set[str] = field(default_factory=set)

    def shape(self, body: Mapping[str, Any]) -> dict[str, Any]:
        """The request as this server takes it."""
        shaped = {key: value for key, value in body.items() if key not in self.dropped}
        if self.without_parser and shaped.get("tools") and "tool_choice" not in shaped:
            shaped["tool_choice"] = "none"
        return shaped

    def learn(self, sent: Mapping[str, Any], refusal: str) -> str | None:
        """Adapt to the text of a refusal of `sent`; what was learned, for people, or None if it taught nothing new."""
        if sent.get("tools") and "tool_choice" not in sent and any(flag in refusal for flag in _NO_PARSER):
            if self.without_parser:
                return None
            self.without_parser = True
            return (
                "the server has no tool-call parser: asking with tool_choice none, calls are read from the text only "
                "(lenient scores)"
            )
        named = [key for key in OPTIONAL_FIELDS if key in sent and key in refusal and key not in self.dropped]
        self.dropped.update(named)
        return f"the server refuses {', '.join(named)}: left out for the whole run" if named else None

    async def converse(
        self,
        body: Mapping[str, Any],
        send: Callable[[Mapping[str, Any]], Awaitable[Sent]],
        *,
        notify: Callable[[str], None] = lambda text: None,
    ) -> Sent:
        """Send a request by `send` as this server takes it, anew after each refusal that teaches something."""
        while True:
            shaped = self.shape(body)
            sent = await send(shaped)
            if sent.refusal is not None:
                learned = self.learn(shaped, sent.refusal)
                if learned is not None:
                    notify(learned)
                if self.shape(body) != shaped:  # learned now, or by another request meanwhile
                    continue
            return sent
