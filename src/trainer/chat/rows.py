"""What encoding a session gives: rows of tokens with their supervised spans. Values only."""

from dataclasses import dataclass

from trainer.chat.proof import Span
from trainer.types import IGNORE_INDEX


@dataclass(frozen=True, slots=True)
class EncodedRow:
    """One training row. For each span, the tokens before it are the serving prompt of its turn."""

    input_ids: list[int]
    spans: tuple[Span, ...]

    def labels(self) -> list[int]:
        """One label per token: the token itself inside the spans, `IGNORE_INDEX` outside."""
        labels = [IGNORE_INDEX] * len(self.input_ids)
        for span in self.spans:
            labels[span.start : span.end] = self.input_ids[span.start : span.end]
        return labels


@dataclass(frozen=True, slots=True)
class EncodedSession:
    """The rows of one session: every trained turn lies in exactly one of them.

    `literal_specials` are special tokens that stand in the text of messages, as (turn, token); a server
    reads them as special too.
    """

    session_id: str
    rows: tuple[EncodedRow, ...]
    literal_specials: tuple[tuple[int, str], ...] = ()

    @property
    def extra_tokens(self) -> int:
        """Tokens that the session costs beyond its longest row, because the template rewrites history."""
        lengths = [len(row.input_ids) for row in self.rows]
        return sum(lengths) - max(lengths, default=0)
