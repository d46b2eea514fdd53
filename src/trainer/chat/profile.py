"""What is known about a chat template once it has been probed: values only, and how they are shown."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, NamedTuple, get_args

from trainer.chat.render import MessageForm
from trainer.chat.stops import Stop

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
