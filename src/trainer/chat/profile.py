"""The findings about a chat template: what it renders, how its turns end, and how to show that."""

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, NamedTuple, get_args

from trainer.chat.render import MessageForm
from trainer.types import Message

if TYPE_CHECKING:
    from rich.table import Table

Feature = Literal[
    "system message",
    "tool schemas",
    "tool calls",
    "several calls in a turn",
    "content with a call",
    "tool results",
    "reasoning",
]
FEATURES: tuple[Feature, ...] = get_args(Feature)


@dataclass(frozen=True, slots=True)
class Stop:
    """The token that ends an assistant turn.

    `after` is what the template writes after it at the end of a conversation. `opens_next` is true if the
    template writes no end of a turn: the turn then ends with the token that opens the next one.
    """

    token: str
    after: str = ""
    opens_next: bool = False


class AnswerHeader(NamedTuple):
    """What comes before the text of an answer.

    `prompt` is the generation prompt. `unwritten` is the end of it that the template leaves out when it
    renders the turn itself (an empty thinking block, for instance). `lead` is what the template writes between
    the generation prompt and the text of the answer; the model must also write it.
    """

    prompt: str
    unwritten: str
    lead: str

    @property
    def written(self) -> str:
        """The part of the generation prompt that is also written before a rendered turn."""
        return self.prompt.removesuffix(self.unwritten)


@dataclass(frozen=True, slots=True)
class TemplateProfile:
    """The behaviour of one chat template with its template arguments set.

    `renders` are the features whose text reaches the model; data that needs another one is refused.
    `stops` maps each stop token to its id; the stop token of plain text comes first. `template_kwargs` are
    the names of the keyword arguments that the template takes, `ignored_kwargs` those that were set but that
    it does not take. `stable` means that the probes saw no earlier turn rewritten when the conversation goes
    on; `preserves_prefixes` means that this is proven from the template's source. `refusal` is the reason
    why nothing can be trained with the template, or None.
    """

    form: MessageForm
    renders: frozenset[Feature]
    text_stop: Stop | None
    call_stop: Stop | None
    stops: dict[str, int]
    header: AnswerHeader
    template_kwargs: tuple[str, ...]
    ignored_kwargs: tuple[str, ...]
    stable: bool
    preserves_prefixes: bool = False
    refusal: str | None = None

    @property
    def argument_form(self) -> str:
        """The form in which call arguments go to the template: "object", or "string" for JSON text."""
        return self.form.arguments

    @property
    def stop_tokens(self) -> tuple[str, ...]:
        """The texts of the stop tokens."""
        return tuple(self.stops)

    @property
    def stop_token_ids(self) -> tuple[int, ...]:
        """The ids of the stop tokens."""
        return tuple(self.stops.values())

    def rows(self) -> list[tuple[str, str]]:
        """Return the profile as (property, finding) pairs."""
        missing = [feature for feature in FEATURES if feature not in self.renders]
        return [
            ("renders", ", ".join(feature for feature in FEATURES if feature in self.renders) or "nothing"),
            ("does not render", ", ".join(missing) or "-"),
            ("call arguments as", self.form.arguments),
            ("stop tokens", ", ".join(f"{token} ({number})" for token, number in self.stops.items()) or "none"),
            ("generation prompt", repr(self.header.prompt)),
            ("template arguments", ", ".join(self.template_kwargs) or "none"),
            ("ignored arguments", ", ".join(self.ignored_kwargs) or "-"),
            ("history", self._history()),
            ("verdict", "refused: " + self.refusal if self.refusal else "usable"),
        ]

    def plain(self) -> str:
        """Return the profile as aligned plain text."""
        return "\n".join(f"{name:<18} {finding}" for name, finding in self.rows())

    def table(self) -> "Table":
        """Return the profile as a `rich` table."""
        from rich.table import Table
        from rich.text import Text

        table = Table(title="Chat template", show_header=False)
        for name, finding in self.rows():
            table.add_row(name, Text(finding))
        return table

    def _history(self) -> str:
        if self.preserves_prefixes:
            return "stable, proven from the template's source"
        return "stable in the probes" if self.stable else "rewritten: a session needs several rows"


def needed_features(message: Message) -> list[Feature]:
    """Return the features that a template needs for this message."""
    role = message["role"]
    if role == "user":
        return []
    if role != "assistant":
        return ["system message" if role == "system" else "tool results"]
    needed: list[Feature] = []
    calls = message.get("tool_calls")
    if calls:
        needed.append("tool calls")
        if len(calls) > 1:
            needed.append("several calls in a turn")
        if message.get("content"):
            needed.append("content with a call")
    if message.get("reasoning_content"):
        needed.append("reasoning")
    return needed


def find_text_stop(final: str, history: str, added: re.Pattern[str]) -> Stop | None:
    """Return the end of a turn of plain text, or None if no added token ends it.

    `final` is what follows the turn's last word at the end of a conversation, `history` what follows it when
    the conversation continues. `added` finds added tokens. The text that both share belongs to the turn, so the
    last added token in it is the stop token. If they share none, as in a template that ends the last turn
    differently (gpt-oss), it is the first one in `final`.
    """
    found = list(added.finditer(final))
    shared = [match for match in found if match.end() <= shared_length(final, history)]
    return _stop(final, (shared[-1:] or found[:1])) or _next_turn_stop(final, history, added)


def find_call_stop(final: str, history: str, added: re.Pattern[str], *, text_stop: Stop | None) -> Stop | None:
    """Return the end of a turn with a tool call: the stop token of plain text if present, else the last added token.

    The first added token says nothing, because the text of a call may itself end with added tokens.
    """
    found = list(added.finditer(final))
    shared = shared_length(final, history)
    usual = [match for match in found if text_stop and match.group() == text_stop.token and match.end() <= shared]
    return _stop(final, (usual[:1] or found[-1:])) or _next_turn_stop(final, history, added)


def shared_length(first: str, second: str) -> int:
    """Return how many characters two texts share at their start."""
    for index, (one, other) in enumerate(zip(first, second, strict=False)):
        if one != other:
            return index
    return min(len(first), len(second))


def _stop(final: str, chosen: list[re.Match[str]]) -> Stop | None:
    return Stop(chosen[0].group(), after=final[chosen[0].end() :]) if chosen else None


def _next_turn_stop(final: str, history: str, added: re.Pattern[str]) -> Stop | None:
    """Return the token that opens the next turn, if it directly follows the text that ends a conversation."""
    opening = added.search(history)
    if opening is None or history[: opening.start()] != final:
        return None
    return Stop(opening.group(), opens_next=True)
