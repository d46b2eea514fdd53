"""Check a finished row turn by turn, in the slow and obvious way. `preview` shows it, and tests compare with it.

Only rendering and tokenizing are shared with the code that made the row. Where a turn ends is worked out here once
more, from what the template writes after the last word of the turn.
"""

from collections.abc import Iterator, Sequence
from datetime import date
from itertools import takewhile
from typing import Any, NamedTuple

from trainer.chat.encode import ChatEncoder
from trainer.chat.rows import EncodedRow
from trainer.errors import TemplateError
from trainer.messages.canonical import canonical_messages
from trainer.types import Message, Tool

_N_TAIL = 40  # characters of a prompt's end that are searched for


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
    encoder: ChatEncoder,
    messages: Sequence[Message],
    tools: Sequence[Tool],
    row: EncodedRow,
    *,
    day: date | None = None,
) -> list[SpanCheck]:
    """Render and tokenize the serving prompt of each turn of a row again, and compare.

    `day` is the session's; by default the one that the row was made on.
    """
    checks = []
    day = day or row.day
    canonical = canonical_messages(messages)
    for span in row.spans:
        prompt = row.input_ids[: span.start]
        text = encoder.decode(row.input_ids[: span.end])
        target = expected_target(encoder, canonical, tools, span.turn, day=day)
        checks.append(
            SpanCheck(
                turn=span.turn,
                prompt_is_exact=prompt == encoder.prompt_ids(canonical[: span.turn], tools, day=day),
                text_is_exact=text == encoder.decode(prompt) + target,
                target=target,
            )
        )
    return checks


def expected_target(
    encoder: ChatEncoder, messages: Sequence[Message], tools: Sequence[Tool], turn: int, *, day: date | None = None
) -> str:
    """Return the text that the model must write in a turn, including the token that ends it."""

    def render(*shown: Message, prompt: bool = False) -> str:
        return encoder.render(shown, tools, add_generation_prompt=prompt, day=day)

    before, message = messages[:turn], messages[turn]
    prompt, final = render(*before, prompt=True), render(*before, message)
    other = final if final.startswith(prompt) else render(*before, {"role": "assistant", "content": "qzother"})
    bare = prompt if final.startswith(prompt) else render(*before)
    written = final[_start_of_turn(prompt, final, other=other, bare=bare) :]
    word, last_word = _last_word(message, written)
    following = _with_next_turn(render, before, message)
    kept = common_length(following, final) - (len(final) - len(written)) - last_word
    end = _end_of_closing(written[last_word:], kept, encoder, whole=final)
    if end is not None:
        return written[: last_word + end]
    # History may be written in another way than the end of a conversation.
    begin = len(final) if following.startswith(final) else following.rfind(word) + len(word)
    opening = next(_found(following[begin:], encoder.special_tokens), ("", 0))
    return written + opening[0]


def _start_of_turn(prompt: str, final: str, *, other: str, bare: str) -> int:
    """Return where the turn begins in `final`: after the prompt, or where another answer makes a difference."""
    if final.startswith(prompt):
        return len(prompt)
    # Both answers may have the same lead, which the model has to write: the turn begins after the last header.
    same, header = final[: common_length(final, other)], prompt[common_length(prompt, bare) :]
    if header:
        return same.rfind(header) + len(header) if header in same else len(same)
    tail = next((prompt[-n:] for n in range(_N_TAIL, 0, -1) if prompt[-n:] in same), "")
    return same.rfind(tail) + len(tail) if tail else len(same)


def _last_word(message: Message, written: str) -> tuple[str, int]:
    """Return the last text of the message that is found in the turn as it was written, and where it ends."""
    words = [message.get("reasoning_content") or "", message.get("content") or ""]
    for call in message.get("tool_calls") or ():
        words += [call["function"]["name"], *_leaves(call["function"]["arguments"])]
    last, position = "", 0
    for word in filter(None, (word.strip() for word in words)):
        found = written.find(word, position)
        last, position = (word, found + len(word)) if found >= 0 else (last, position)
    return last, position


def _leaves(value: Any) -> Iterator[str]:
    if isinstance(value, dict | list):
        for inner in value.values() if isinstance(value, dict) else value:
            yield from _leaves(inner)
    elif isinstance(value, str):
        yield value


def _end_of_closing(rest: str, n_kept: int, encoder: ChatEncoder, *, whole: str) -> int | None:
    """Return the end of the stop token in `rest`, of which a longer conversation keeps the first `n_kept` characters.

    It is the first token that ends a text. Without one it is the last special token that is kept (except for one that
    opens the next turn, if the template always writes that), or else the first that is not kept.
    """
    # A few tokenizers do not mark the token that ends a turn as special.
    tokens = list(_found(rest, encoder.special_tokens)) or list(_found(rest, encoder.added_tokens))
    kept = [(token, end) for token, end in tokens if end <= n_kept]
    for token, end in kept or tokens:
        if token in encoder.eos_tokens:
            return end
    if not kept:
        return tokens[0][1] if tokens else None
    # What opens turns comes first in a conversation, after tokens that occur only once.
    opening = next((token for token, _ in _found(whole, encoder.special_tokens) if whole.count(token) > 1), None)
    closing = list(takewhile(lambda found: found[0] != opening, kept)) or kept
    return closing[-1][1]


def _with_next_turn(render: Any, before: Sequence[Message], message: Message) -> str:
    """Return the conversation with the results of the turn's calls, or with another question."""
    calls = message.get("tool_calls") or ()
    results: list[Message] = [{"role": "tool", "content": "qz", "tool_call_id": call["id"]} for call in calls]
    try:
        return str(render(*before, message, *(results or [{"role": "user", "content": "qz"}])))
    except TemplateError:
        return ""


def _found(text: str, tokens: Sequence[str]) -> Iterator[tuple[str, int]]:
    """Yield the tokens in a text with their end positions, from left to right, the longest at each place."""
    position = 0
    while position < len(text):
        token = max((token for token in tokens if text.startswith(token, position)), key=len, default=None)
        if token:
            yield token, position + len(token)
        position += len(token) if token else 1


def common_length(first: str, second: str) -> int:
    """Return how many characters two texts share at the beginning."""
    length = 0
    while length < min(len(first), len(second)) and first[length] == second[length]:
        length += 1
    return length
