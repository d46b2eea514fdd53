"""What is known about a chat template once it has been probed: values only, and how they are shown."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

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


@dataclass(frozen=True, slots=True)
class Stop:
    """The token that ends an assistant turn.

    `after` is what the template writes behind it at the end of a conversation. `opens_next` is true where
    the template writes no end at all and the turn ends with the token that opens the next one.
    """

    token: str
    token_id: int
    after: str = ""
    opens_next: bool = False


@dataclass(frozen=True, slots=True)
class TemplateProfile:
    """The behaviour of one chat template with its switches set.

    `renders` are the features whose text reaches the model; data that needs another is refused.
    `generation_only` is text of the generation prompt that the template leaves out when it writes the turn
    down (an empty thinking block, for instance). `stable` says that earlier turns are never rewritten when
    the conversation goes on, as far as the probes show; `causal` that this is proven from its source.
    `refusal` is the reason why nothing can be trained with it, or None.
    """

    form: MessageForm
    renders: frozenset[Feature]
    stop_talk: Stop | None
    stop_call: Stop | None
    generation_prompt: str
    generation_only: str
    switches: tuple[str, ...]
    stable: bool
    causal: bool
    refusal: str | None = None

    @property
    def argument_form(self) -> str:
        """Whether call arguments go to the template as an "object" or as a JSON "string"."""
        return self.form.arguments

    @property
    def stops(self) -> tuple[Stop, ...]:
        """The distinct stop tokens, that of a talk turn first."""
        found = {stop.token: stop for stop in (self.stop_call, self.stop_talk) if stop is not None}
        return tuple(reversed(found.values()))

    @property
    def stop_tokens(self) -> tuple[str, ...]:
        """Texts of the stop tokens."""
        return tuple(stop.token for stop in self.stops)

    @property
    def stop_token_ids(self) -> tuple[int, ...]:
        """Ids of the stop tokens."""
        return tuple(stop.token_id for stop in self.stops)

    def rows(self) -> list[tuple[str, str]]:
        """The profile as (property, finding) pairs, for a table or plain text."""
        missing = [feature for feature in FEATURES if feature not in self.renders]
        return [
            ("renders", ", ".join(feature for feature in FEATURES if feature in self.renders) or "nothing"),
            ("does not render", ", ".join(missing) or "-"),
            ("call arguments as", self.form.arguments),
            ("stop tokens", ", ".join(f"{stop.token} ({stop.token_id})" for stop in self.stops) or "none"),
            ("generation prompt", repr(self.generation_prompt)),
            ("switches", ", ".join(self.switches) or "none"),
            ("history", self._history()),
            ("verdict", self.refusal or "usable"),
        ]

    def _history(self) -> str:
        if self.causal:
            return "stable, proven from the template's source"
        return "stable in the probes" if self.stable else "rewritten: a session needs several rows"

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


FEATURES: tuple[Feature, ...] = Feature.__args__  # type: ignore[attr-defined]
