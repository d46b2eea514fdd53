"""Check a finished row turn by turn, in the slow and obvious way. `preview` shows it, and tests compare with it."""

from collections.abc import Sequence
from typing import NamedTuple

from trainer.chat.encode import ChatEncoder
from trainer.chat.rows import EncodedRow
from trainer.messages.canonical import canonical_messages
from trainer.types import Message, Tool


class SpanCheck(NamedTuple):
    """Whether a row holds one turn exactly.

    `prompt_is_exact`: the tokens before the span are those of the rendered and tokenized serving prompt.
    `text_is_exact`: the tokens of the span add exactly `target` to the prompt's text. This is also false if
    the tokenizer changes text (normalizes it, or drops what it does not know), although the row is right.
    """

    turn: int
    prompt_is_exact: bool
    text_is_exact: bool
    target: str


def verify_row(
    encoder: ChatEncoder, messages: Sequence[Message], tools: Sequence[Tool], row: EncodedRow
) -> list[SpanCheck]:
    """Render and tokenize the serving prompt of each turn of a row again, and compare."""
    checks = []
    targets = {turn.turn: turn.target for turn in encoder.turn_texts(messages, tools)}
    canonical = canonical_messages(messages)
    for span in row.spans:
        prompt = row.input_ids[: span.start]
        text = encoder.decode(row.input_ids[: span.end])
        checks.append(
            SpanCheck(
                turn=span.turn,
                prompt_is_exact=prompt == encoder.prompt_ids(canonical[: span.turn], tools),
                text_is_exact=text == encoder.decode(prompt) + targets[span.turn],
                target=targets[span.turn],
            )
        )
    return checks
