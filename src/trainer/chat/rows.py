"""The result of encoding a session: rows of tokens with their supervised spans."""

from dataclasses import dataclass, field
from datetime import date

from trainer.chat.proof import Span
from trainer.types import IGNORE_INDEX


@dataclass(frozen=True, slots=True)
class EncodedRow:
    """One training row. The tokens before each span are the serving prompt of its turn on `day`."""

    input_ids: list[int]
    spans: tuple[Span, ...]
    day: date | None = field(default=None, compare=False)

    def labels(self) -> list[int]:
        """Return one label per token: the token itself inside the spans, `IGNORE_INDEX` outside."""
        labels = [IGNORE_INDEX] * len(self.input_ids)
        for span in self.spans:
            labels[span.start : span.end] = self.input_ids[span.start : span.end]
        return labels


@dataclass(frozen=True, slots=True)
class EncodedSession:
    """The rows of one session. Every trained turn is in exactly one of them.

    `literal_specials` are special tokens that occur in the text of messages, as (turn, token). A server also
    reads them as special tokens.
    """

    session_id: str
    rows: tuple[EncodedRow, ...]
    literal_specials: tuple[tuple[int, str], ...] = ()

    @property
    def extra_tokens(self) -> int:
        """The number of tokens beyond the longest row, the cost of a template that rewrites history."""
        lengths = [len(row.input_ids) for row in self.rows]
        return sum(lengths) - max(lengths, default=0)
