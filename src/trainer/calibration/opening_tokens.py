"""Find the tokens that begin a call, in turns as the model's own template renders them. Runs no model.

Tokenizing the opening of a format alone would find other tokens: what is before a call can be a part of its first one.
"""

from collections import Counter
from collections.abc import Callable, Sequence

from trainer.tool_calls import ToolCallFormat
from trainer.types import ToolEvalExample

LEAST_SHARE = 0.99
"""How often a token must begin a call where it occurs: a bias on others would change prose or arguments."""

Decode = Callable[[Sequence[int]], str]
"""Maps tokens to their text, special tokens included."""


def opening_tokens(examples: Sequence[ToolEvalExample], *, decode: Decode, fmt: ToolCallFormat) -> tuple[int, ...]:
    """Return the ids of the tokens that begin the calls of gold turns, in ascending order.

    A token counts if it begins a call in at least 99 of 100 of its occurrences in the gold turns. The result is empty
    if fewer than 99 of 100 calls begin with such a token, as in a format whose calls begin like any other bracket, or
    with the name of the tool: a bias on some of them would prefer these.
    """
    begins: Counter[int] = Counter()
    occurs: Counter[int] = Counter()
    for example in examples:
        occurs.update(example.target_ids)
        begins.update(example.target_ids[index] for index in call_starts(example, decode=decode, fmt=fmt))
    found = sorted(token for token, n in begins.items() if n >= LEAST_SHARE * occurs[token])
    n_covered = sum(begins[token] for token in found)
    return tuple(found) if n_covered >= LEAST_SHARE * begins.total() else ()


def call_starts(example: ToolEvalExample, *, decode: Decode, fmt: ToolCallFormat) -> list[int]:
    """Return the indices of the target tokens with which the calls of a gold turn begin, markers included.

    It is the token that holds the first character of the call, which can also hold spaces or line breaks before it.
    """
    if not example.gold_calls:
        return []
    ids = example.target_ids[:-1]  # without the stop token
    ends = [len(decode(ids[: n + 1])) for n in range(len(ids))]
    starts = fmt.call_starts(decode(ids), tools=example.tools)
    found = [next((index for index, end in enumerate(ends) if end > start), None) for start in starts]
    return sorted({index for index in found if index is not None})
