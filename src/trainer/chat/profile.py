"""The findings about a chat template: what it renders, how its turns end, and how to show that."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, NamedTuple, get_args

from trainer.chat.template.dates import TemplateDates
from trainer.chat.template.server_shape import ContentFormat
from trainer.chat.template.stops import Stop
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

TurnKind = tuple[bool, bool]
"""Whether an assistant turn has calls, and whether it has reasoning."""


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

    `renders` are the features whose text reaches the model. `stops` maps each stop token to its id; the stop token of
    plain text comes first. `headers` are the generation prompts that the probes saw. `template_kwargs` are the names
    of the keyword arguments that the template takes, `ignored_kwargs` those that were set but that it does not take.
    `settled` are the kinds of turns that the probes saw unchanged when the conversation goes on; `preserves_prefixes`
    means that this is proven for all from the template's source. `reasoning_markers` are the texts around the
    reasoning of an answer. `refusal` is the reason why nothing can be trained with the template, or None.
    """

    content_format: ContentFormat
    dates: TemplateDates
    renders: frozenset[Feature]
    text_stop: Stop | None
    call_stop: Stop | None
    stops: dict[str, int]
    headers: tuple[AnswerHeader, ...]
    template_kwargs: tuple[str, ...]
    ignored_kwargs: tuple[str, ...]
    settled: frozenset[TurnKind]
    reasoning_markers: tuple[str, str] | None = None
    preserves_prefixes: bool = False
    refusal: str | None = None

    @property
    def header(self) -> AnswerHeader:
        """The generation prompt of the plainest conversation that the template renders."""
        return self.headers[0] if self.headers else AnswerHeader("", "", "")

    @property
    def stable(self) -> bool:
        """Whether the probes saw no turn without reasoning rewritten when the conversation goes on."""
        needed = {(False, False), (True, False)} if "tool calls" in self.renders else {(False, False)}
        return needed <= self.settled

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
            ("message content", "text" if self.content_format == "string" else "a list of parts"),
            ("stop tokens", ", ".join(f"{token} ({number})" for token, number in self.stops.items()) or "none"),
            ("generation prompt", repr(self.header.prompt)),
            ("template arguments", ", ".join(self.template_kwargs) or "none"),
            ("ignored arguments", ", ".join(self.ignored_kwargs) or "-"),
            ("date", self._date()),
            ("history", self._history()),
            ("verdict", "refused: " + self.refusal if self.refusal else "usable; every row is checked"),
        ]

    def plain(self) -> str:
        """Return the profile as aligned plain text."""
        return "\n".join(f"{name:<18} {finding}" for name, finding in self.rows())

    def table(self) -> "Table":
        """Return the profile as a `rich` table."""
        from rich.table import Table
        from rich.text import Text

        table = Table(title="Chat template", show_header=False)
        table.add_column(no_wrap=True)
        table.add_column(overflow="fold")
        for name, finding in self.rows():
            table.add_row(name, Text(finding))
        return table

    def _date(self) -> str:
        if self.dates.argument is not None:
            return f"each session's own, as the template argument {self.dates.argument.name}"
        return "each session's own, in place of the clock" if self.dates.reads_clock else "-"

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
