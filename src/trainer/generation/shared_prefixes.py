"""Group evaluation turns whose prompts share a prefix, so each shared token is computed once.

A shared prefix is a sequence of tokens with the spans that gold fills. Runs no model.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from trainer.types import ToolEvalExample


class TurnSpan(NamedTuple):
    """Tokens [start, end) of a shared prefix, which the turn with the key `example` must produce."""

    example: int
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class SharedPrefix:
    """The longest gold sequence of some turns of a session; it contains every turn's prompt and target."""

    input_ids: tuple[int, ...]
    turns: tuple[TurnSpan, ...]


def build_shared_prefixes(examples: Mapping[int, ToolEvalExample]) -> list[SharedPrefix]:
    """The fewest shared prefixes that contain every example, in the order of the sessions' first examples.

    A session is one prefix if its chat template leaves history unchanged. A template that rewrites history
    yields one for each group of turns that agree.
    """
    by_session: dict[str, list[int]] = defaultdict(list)
    for index, example in examples.items():
        by_session[example.session_id].append(index)
    return [prefix for indices in by_session.values() for prefix in _session_prefixes(examples, indices)]


def chunked(prefixes: Iterable[SharedPrefix], *, max_tokens: int, n_stem: int = 0) -> Iterator[list[SharedPrefix]]:
    """Chunks of consecutive shared prefixes with at most `max_tokens` tokens in total; a longer one is alone.

    The first `n_stem` tokens of each do not count.
    """
    chunk: list[SharedPrefix] = []
    n_tokens = 0
    for prefix in prefixes:
        n_own = len(prefix.input_ids) - n_stem
        if chunk and n_tokens + n_own > max_tokens:
            yield chunk
            chunk, n_tokens = [], 0
        chunk.append(prefix)
        n_tokens += n_own
    if chunk:
        yield chunk


def n_shared(first: Sequence[int], second: Sequence[int]) -> int:
    """The number of tokens that two sequences have in common at their start."""
    pairs = zip(first, second, strict=False)
    return next((i for i, (one, other) in enumerate(pairs) if one != other), min(len(first), len(second)))


def _session_prefixes(examples: Mapping[int, ToolEvalExample], indices: Sequence[int]) -> list[SharedPrefix]:
    longest_first = sorted(indices, key=lambda index: -len(examples[index].prompt_ids))
    open_prefixes: list[tuple[tuple[int, ...], list[TurnSpan]]] = []
    for index in longest_first:
        example = examples[index]
        tokens = example.prompt_ids + example.target_ids
        span = TurnSpan(index, len(example.prompt_ids), len(tokens))
        for known, spans in open_prefixes:
            if known[: len(tokens)] == tokens:
                spans.append(span)
                break
        else:
            open_prefixes.append((tokens, [span]))
    return [SharedPrefix(tokens, tuple(reversed(spans))) for tokens, spans in open_prefixes]
