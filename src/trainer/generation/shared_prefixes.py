"""Group evaluation turns whose prompts share a beginning, so that each shared token is computed once.

Knows no model: a trunk is a sequence of tokens and the spans in it that gold fills.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from trainer.types import ToolEvalExample


class TurnSpan(NamedTuple):
    """Tokens [start, end) of a trunk that turn `example` has to produce; `example` is its key."""

    example: int
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class Trunk:
    """The longest gold sequence of some turns of a session; every turn's prompt and target lie in it."""

    input_ids: tuple[int, ...]
    turns: tuple[TurnSpan, ...]


def build_trunks(examples: Mapping[int, ToolEvalExample]) -> list[Trunk]:
    """The fewest trunks that hold every example, in the order of the sessions' first examples.

    A session is one trunk when its chat template keeps history as it was; a template that rewrites history
    yields one trunk for each stretch of turns that agree.
    """
    by_session: dict[str, list[int]] = defaultdict(list)
    for index, example in examples.items():
        by_session[example.session_id].append(index)
    return [trunk for indices in by_session.values() for trunk in _session_trunks(examples, indices)]


def chunked(trunks: Iterable[Trunk], *, max_tokens: int) -> Iterator[list[Trunk]]:
    """Consecutive trunks of together at most `max_tokens` tokens; a longer trunk comes alone."""
    chunk: list[Trunk] = []
    n_tokens = 0
    for trunk in trunks:
        if chunk and n_tokens + len(trunk.input_ids) > max_tokens:
            yield chunk
            chunk, n_tokens = [], 0
        chunk.append(trunk)
        n_tokens += len(trunk.input_ids)
    if chunk:
        yield chunk


def n_shared(first: Sequence[int], second: Sequence[int]) -> int:
    """How many tokens two sequences have in common from their start."""
    pairs = zip(first, second, strict=False)
    return next((i for i, (one, other) in enumerate(pairs) if one != other), min(len(first), len(second)))


def _session_trunks(examples: Mapping[int, ToolEvalExample], indices: Sequence[int]) -> list[Trunk]:
    longest_first = sorted(indices, key=lambda index: -len(examples[index].prompt_ids))
    open_trunks: list[tuple[tuple[int, ...], list[TurnSpan]]] = []
    for index in longest_first:
        example = examples[index]
        tokens = example.prompt_ids + example.target_ids
        span = TurnSpan(index, len(example.prompt_ids), len(tokens))
        for trunk_tokens, spans in open_trunks:
            if trunk_tokens[: len(tokens)] == tokens:
                spans.append(span)
                break
        else:
            open_trunks.append((tokens, [span]))
    return [Trunk(tokens, tuple(reversed(spans))) for tokens, spans in open_trunks]
