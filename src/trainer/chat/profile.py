"""What is known about a chat template once it has been probed, how its turns end, and how that is shown."""

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, NamedTuple, get_args

from trainer.chat.render import MessageForm

if TYPE_CHECKING:
    from rich.table import Table

Feature = Literal[
    "system message",
    "tool schemas",
    "tool calls",
    "several calls in a turn",
    "content beside a call",
    "tool results",
    "reasoning",
]
FEATURES: tuple[Feature, ...] = get_args(Feature)


@dataclass(frozen=True, slots=True)
class Stop:
    """The token that ends an assistant turn.

    `after` is what the template writes behind it at the end of a conversation. `opens_next` is true where
    the template writes no end at all: the turn ends with the token that opens the next one.
    """

    token: str
    after: str = ""
    opens_next: bool = False


class AnswerHeader(NamedTuple):
    """What stands before an answer.

    `prompt` is the generation prompt. `unwritten` is the end of it that the template leaves out when it
    writes the turn down (an empty thinking block, for instance); `lead` is what the template writes between
    the generation prompt and the text of the answer, and the model has to write, too.
    """

    prompt: str
    unwritten: str
    lead: str

    @property
    def written(self) -> str:
        """The part of the generation prompt that also stands before a written turn."""
        return self.prompt.removesuffix(self.unwritten)


@dataclass(frozen=True, slots=True)
class TemplateProfile:
    """The behaviour of one chat template with its switches set.

    `renders` are the features whose text reaches the model; data that needs another is refused.
    `stops` maps each stop token to its id, that of a talk turn first. `switches` are what the template
    takes, `ignored_switches` what was set but it does not take. `stable` says that earlier turns are never
    rewritten when the conversation goes on, as far as the probes show; `causal` that this is proven from its
    source. `refusal` is the reason why nothing can be trained with it, or None.
    """

    form: MessageForm
    renders: frozenset[Feature]
    talk_stop: Stop | None
    call_stop: Stop | None
    stops: dict[str, int]
    header: AnswerHeader
    switches: tuple[str, ...]
    ignored_switches: tuple[str, ...]
    stable: bool
    causal: bool = False
    refusal: str | None = None

    @property
    def argument_form(self) -> str:
        """Whether call arguments go to the template as an "object" or as a JSON "string"."""
        return self.form.arguments

    @property
    def stop_tokens(self) -> tuple[str, ...]:
        """Texts of the stop tokens."""
        return tuple(self.stops)

    @property
    def stop_token_ids(self) -> tuple[int, ...]:
        """Ids of the stop tokens."""
        return tuple(self.stops.values())

    def rows(self) -> list[tuple[str, str]]:
        """The profile as (property, finding) pairs."""
        missing = [feature for feature in FEATURES if feature not in self.renders]
        return [
            ("renders", ", ".join(feature for feature in FEATURES if feature in self.renders) or "nothing"),
            ("does not render", ", ".join(missing) or "-"),
            ("call arguments as", self.form.arguments),
            ("stop tokens", ", ".join(f"{token} ({number})" for token, number in self.stops.items()) or "none"),
            ("generation prompt", repr(self.header.prompt)),
            ("switches", ", ".join(self.switches) or "none"),
            ("ignored switches", ", ".join(self.ignored_switches) or "-"),
            ("history", self._history()),
            ("verdict", "refused: " + self.refusal if self.refusal else "usable"),
        ]

    def plain(self) -> str:
        """The profile as aligned plain text."""
        return "\n".join(f"{name:<18} {finding}" for name, finding in self.rows())

    def table(self) -> "Table":
        """The profile as a `rich` table."""
        from rich.table import Table
        from rich.text import Text

        table = Table(title="Chat template", show_header=False)
        for name, finding in self.rows():
            table.add_row(name, Text(finding))
        return table

    def _history(self) -> str:
        if self.causal:
            return "stable, proven from the template's source"
        return "stable in the probes" if self.stable else "rewritten: a session needs several rows"


def find_talk_stop(final: str, history: str, added: re.Pattern[str]) -> Stop | None:
    """The end of a turn of plain text.

    `final` is what follows its last word at the end of a conversation, `history` what follows it when the
    conversation goes on; `added` finds added tokens. What both have in common belongs to the turn, so its
    last added token is the stop; a template that ends the last turn differently (gpt-oss) has none in
    common, and the first one counts. None where no added token ends the turn.
    """
    found = list(added.finditer(final))
    shared = [match for match in found if match.end() <= shared_length(final, history)]
    return _stop(final, (shared[-1:] or found[:1])) or _next_turn_stop(final, history, added)


def find_call_stop(final: str, history: str, added: re.Pattern[str], *, talk: Stop | None) -> Stop | None:
    """The end of a turn with a tool call: as that of plain text if it ends so, or else its last added token.

    The text of a call may itself close with added tokens, so the first one says nothing.
    """
    found = list(added.finditer(final))
    shared = shared_length(final, history)
    usual = [match for match in found if talk and match.group() == talk.token and match.end() <= shared]
    return _stop(final, (usual[:1] or found[-1:])) or _next_turn_stop(final, history, added)


def shared_length(first: str, second: str) -> int:
    """How many characters two texts have in common from their start."""
    for index, (one, other) in enumerate(zip(first, second, strict=False)):
        if one != other:
            return index
    return min(len(first), len(second))


def _stop(final: str, chosen: list[re.Match[str]]) -> Stop | None:
    return Stop(chosen[0].group(), after=final[chosen[0].end() :]) if chosen else None


def _next_turn_stop(final: str, history: str, added: re.Pattern[str]) -> Stop | None:
    """The token that opens the next turn, if it follows at once what ends the conversation."""
    opening = added.search(history)
    if opening is None or history[: opening.start()] != final:
        return None
    return Stop(opening.group(), opens_next=True)
