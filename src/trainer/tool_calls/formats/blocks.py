"""Read calls inside an outer block, so that a block without a readable call is still an attempt. Knows no call."""

from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

from trainer.tool_calls.base import Region, Source, attempt, scan_marked
from trainer.tool_calls.readers import CallParts, Finder


class Block(NamedTuple):
    """The markers around all the calls of a turn, if a format has any. The opening one may have several spellings."""

    openings: tuple[str, ...] = ()
    closing: str = ""

    @property
    def markers(self) -> tuple[str, ...]:
        """Return all the markers, for `ToolCallFormat.wrappers`."""
        return (*self.openings, self.closing) if self.openings else ()


def scan_block(
    source: Source, block: Block, openings: Sequence[str], read: Callable[[Source, int, Finder], Region | None]
) -> Iterator[Region]:
    """Yield the regions of the calls that begin with one of `openings`, inside the block or without it.

    A block in which no call begins is one attempt: `missing_name` with its closing marker, else `unclosed`.
    """

    def read_any(source: Source, start: int, finder: Finder) -> Region | None:
        opening = next((marker for marker in block.openings if source.text.startswith(marker, start)), None)
        if opening is None:
            return read(source, start, finder)
        body = start + len(opening)
        close, call = finder.find(block.closing, body), finder.first(openings, body)
        if call < close:
            return None
        if close == len(source.text):
            return one_attempt(source.text, (start, close), CallParts("unclosed"))
        return one_attempt(source.text, (start, close + len(block.closing)), CallParts("missing_name"))

    return scan_marked(source, (*block.openings, *openings), read_any)


def one_attempt(text: str, span: tuple[int, int], parts: CallParts) -> Region:
    """Return a region that is one attempted call."""
    return Region(*span, (attempt(text, span, **parts._asdict()),))
