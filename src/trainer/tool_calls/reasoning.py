"""Leave out what a model writes inside reasoning blocks: drafts of calls there are no calls. Knows no format."""

import re
from collections.abc import Callable, Iterable
from typing import Protocol, TypeVar

MARKERS = (
    ("<think>", "</think>"),
    ("[THINK]", "[/THINK]"),
    ("<|channel>thought", "<channel|>"),
    ("<|START_THINKING|>", "<|END_THINKING|>"),
    ("<seed:think>", "</seed:think>"),
    ("<mm:think>", "</mm:think>"),
    ("◁think▷", "◁/think▷"),
    ("<|think|>", "<|/think|>"),
    ("<|inner_prefix|>", "<|inner_suffix|>"),
)
"""What opens and closes the reasoning of the known model families."""

_OPENING = re.compile("|".join(re.escape(opening) for opening, _ in MARKERS))
_CLOSING = re.compile("|".join(re.escape(closing) for _, closing in MARKERS))
_CLOSING_OF = dict(MARKERS)
_MOST_SCANS = 16


class _Span(Protocol):
    @property
    def start(self) -> int: ...

    @property
    def end(self) -> int: ...


SpanT = TypeVar("SpanT", bound=_Span)


def outside_reasoning(text: str, scan: Callable[[int], Iterable[SpanT]]) -> tuple[int, list[SpanT]]:
    """Return where the answer begins, and the spans that `scan` finds outside reasoning from there on.

    A block at the very start may lack its end; then everything is reasoning. If the prompt opened the block, the text
    only closes it, and everything before that is reasoning. Anywhere else, a block counts only with both ends: a marker
    that is mentioned in an answer opens nothing. Markers inside a found span, such as an argument, do not count.
    """
    answer = start = _leading_end(text)
    kept: list[SpanT] = []
    for _ in range(_MOST_SCANS):
        start, is_done = _scan_once(text, start, scan, kept)
        if is_done:
            break
    if not answer and (closed := _unopened_end(text, kept)):
        return closed, [span for span in kept if span.start >= closed]
    return answer, kept


def _scan_once(text: str, start: int, scan: Callable[[int], Iterable[SpanT]], kept: list[SpanT]) -> tuple[int, bool]:
    """Add the spans from `start` on that are outside blocks; stop where a draft in a block reaches beyond its end."""
    position, block_end = start, start
    missing: set[str] = set()
    for span in scan(start):
        if span.start >= block_end:
            block_end = _block_end(text, max(position, block_end), span.start, missing)
        if span.start >= block_end:
            kept.append(span)
            position = block_end = max(span.end, block_end)
        elif span.end > block_end:
            return block_end, False
    return len(text), True


def _block_end(text: str, start: int, limit: int, missing: set[str]) -> int:
    """Return where the last block that opens in `text[start:limit]` ends, or `start` if none does."""
    end = start
    while opening := _OPENING.search(text, end, limit):
        closing = _CLOSING_OF[opening[0]]
        found = -1 if closing in missing else text.find(closing, opening.end())
        if found < 0:
            missing.add(closing)
            end = opening.end()
            continue
        end = found + len(closing)
        if end > limit:
            return end
    return end if end <= limit else limit


def _leading_end(text: str) -> int:
    begin = len(text) - len(text.lstrip())
    opening = _OPENING.match(text, begin)
    if opening is None:
        return 0
    closing = _CLOSING_OF[opening[0]]
    found = text.find(closing, opening.end())
    return len(text) if found < 0 else found + len(closing)


def _unopened_end(text: str, spans: Iterable[_Span]) -> int:
    """Return the end of the first closing marker outside the spans that nothing opens; 0 if there is none."""
    position = 0
    for start, end in [*((span.start, span.end) for span in spans), (len(text), len(text))]:
        closing = _CLOSING.search(text, position, start)
        if closing is not None:
            return 0 if _OPENING.search(text, position, closing.start()) else closing.end()
        position = end
    return 0
