"""Find the tokens that begin a call, in turns as the model's own template renders them. Runs no model.

Tokenizing the opening of a format alone would find other tokens: what is before a call can be a part of its first one.
"""

from collections import Counter
from collections.abc import Callable, Sequence

from trainer.tool_calls import ToolCallFormat
from trainer.types import ToolEvalExample

LEAST_SHARE = 0.99
"""How often a token must begin a call where it occurs. A bias on others would change prose or arguments."""

Decode = Callable[[Sequence[int]], str]
"""Maps tokens to their text, special tokens included."""


def opening_tokens(examples: Sequence[ToolEvalExample], *, decode: Decode, fmt: ToolCallFormat) -> tuple[int, ...]:
    """Return the ids of the tokens that begin the calls of gold turns, in ascending order.

    A token counts if it begins a call in at least 99 of 100 of its occurrences in the gold turns. The result is empty
    if no token does, as in a format whose calls begin like any other bracket.
    """
    begins: Counter[int] = Counter()
    occurs: Counter[int] = Counter()
    for example in examples:
        occurs.update(example.target_ids)
        begins.update(example.target_ids[index] for index in call_starts(example, decode=decode, fmt=fmt))
    return tuple(sorted(token for token, n in begins.items() if n >= LEAST_SHARE * occurs[token]))


def call_starts(example: ToolEvalExample, *, decode: Decode, fmt: ToolCallFormat) -> list[int]:
    """Return the indices of the target tokens with which the calls of a gold turn begin.

    A call begins at the first character that is neither prose nor a space: at its marker, or at the marker of all the
    calls of the turn.
    """
    if not example.gold_calls:
        return []
    ids = example.target_ids
    ends = [len(decode(ids[: n + 1])) for n in range(len(ids) - 1)]  # without the stop token
    text = decode(ids[:-1])
    starts = sorted({_begin(text, call.start, fmt) for call in fmt.parse(text, tools=example.tools).calls})
    found = [next((index for index, end in enumerate(ends) if end > start), None) for start in starts]
    return sorted({index for index in found if index is not None})


def _begin(text: str, start: int, fmt: ToolCallFormat) -> int:
    """Return where the markers directly before the call at `start` begin; `start` if there are none."""
    begin = start
    while True:
        before = text[:begin].rstrip()
        marker = next((wrapper for wrapper in fmt.wrappers if before.endswith(wrapper)), None)
        headers = fmt.header.finditer(before) if fmt.header is not None else ()
        header = next((found for found in headers if found.end() == len(before) and found[0]), None)
        if marker is None and header is None:
            return begin
        begin = len(before) - len(marker) if marker is not None else header.start() if header else begin
