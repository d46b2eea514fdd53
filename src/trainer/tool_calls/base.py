"""What a tool-call format is: a reader of model text and a reference writer. Knows no particular format."""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

from trainer.tool_calls.json_reader import Finder
from trainer.tools.parameters import schema_nodes
from trainer.tools.schema import SchemaNode
from trainer.types import Call, CallStatus, ParsedCall, ParsedText, Tool

# What opens and closes the reasoning of the model families whose formats are known.
_REASONING = (("<think>", "</think>"), ("[THINK]", "[/THINK]"), ("<|channel>thought", "<channel|>"))

# A text that begins like this is a call whose markers were lost, not an answer to the user. Only at the very
# beginning: JSON that is quoted inside prose is prose.
_BARE_CALL = re.compile(
    r'\s*(?:```(?:json)?\s*)?(?:\[\s*)?\{\s*"name"\s*:\s*"[^"]*"\s*,\s*"(?:arguments|parameters)"\s*:'
)


class Region(NamedTuple):
    """A stretch of model text that is not prose: `text[start:end]`, markers included, and its attempts."""

    start: int
    end: int
    calls: tuple[ParsedCall, ...]


class Source(NamedTuple):
    """What a scanner reads: the text, where to begin, and the tools' schemas if the format needs them."""

    text: str
    start: int
    nodes: Mapping[str, SchemaNode]


Scan = Callable[[Source], Iterable[Region]]


def attempt(
    text: str,
    span: tuple[int, int],
    *,
    status: CallStatus,
    name: str | None = None,
    arguments: dict[str, Any] | None = None,
) -> ParsedCall:
    """The record of one attempt at `text[span[0]:span[1]]`."""
    start, end = span
    return ParsedCall(status=status, raw=text[start:end], start=start, end=end, name=name, arguments=arguments)


def scan_marked(
    source: Source, markers: Sequence[str], read: Callable[[Source, int, Finder], Region | None]
) -> Iterator[Region]:
    """The regions that begin at a marker.

    `read` is given a marker's position and gives a region that ends after it, or None where the marker is part
    of prose.
    """
    finder = Finder(source.text)
    position = finder.first(markers, source.start)
    while position < len(source.text):
        region = read(source, position, finder)
        if region is not None:
            yield region
        position = finder.first(markers, region.end if region is not None else position + 1)


@dataclass(frozen=True, slots=True)
class ToolCallFormat:
    """One way of writing tool calls as text.

    `vllm_parser` is the value of vLLM's `--tool-call-parser` that reads the format, None where there is none.
    `wrappers` are markers around a turn's calls as a whole, which belong to no call and to no prose.
    `needs_schema` says that values carry no type of their own (`5` may be a number or a string), so that
    reading them exactly takes the tools.
    """

    name: str
    vllm_parser: str | None
    scan: Scan
    write: Callable[[Sequence[Call]], str]
    wrappers: tuple[str, ...] = ()
    needs_schema: bool = False

    def parse(self, text: str, *, finished: bool = True, tools: Sequence[Tool] = ()) -> ParsedText:
        """Take apart what a model wrote, in time linear in its length. Never raises, never evaluates.

        Every attempt at a call is kept, in order, with its status and its span. `content` is the prose
        outside the attempts, without the reasoning block. `finished=False` says that generation hit its
        token limit: an unclosed last attempt is then `truncated`, not `unclosed`. `tools` gives untyped
        values their type.
        """
        start = _reasoning_end(text)
        nodes = schema_nodes(tools) if self.needs_schema else {}
        regions = list(self.scan(Source(text, start, nodes)))
        start, regions = _drop_unopened_reasoning(text, start, regions)
        if not any(region.calls for region in regions) and _BARE_CALL.match(text, start):
            span = (start + _n_leading_spaces(text[start:]), len(text))
            regions = [Region(*span, (attempt(text, span, status="unclosed"),))]
        calls = [call for region in regions for call in region.calls]
        is_last_word = bool(calls) and bool(regions[-1].calls) and not text[regions[-1].end :].strip()
        if not finished and is_last_word and calls[-1].status == "unclosed":
            calls[-1] = replace(calls[-1], status="truncated")
        return ParsedText(content=self._prose(text, start, regions), calls=tuple(calls))

    def render(self, calls: Sequence[Call]) -> str:
        """The reference text of `calls`, as a model would write it, without the stop token.

        What a format cannot carry, such as its own delimiter inside a string, is not read back as it was
        (docs/tool-call-formats.md lists it); `check_round_trip` tells.
        """
        return self.write(calls)

    def _prose(self, text: str, start: int, regions: Sequence[Region]) -> str:
        pieces = []
        for region in [*regions, Region(len(text), len(text), ())]:
            piece = text[start : region.start]
            for wrapper in self.wrappers:
                piece = piece.replace(wrapper, "")
            pieces.append(piece.strip())
            start = region.end
        return "\n".join(piece for piece in pieces if piece)


def _n_leading_spaces(text: str) -> int:
    return len(text) - len(text.lstrip())


def _reasoning_end(text: str) -> int:
    """Where the answer begins: after a reasoning block at the very start, else at 0."""
    begin = _n_leading_spaces(text)
    for opening, closing in _REASONING:
        if text.startswith(opening, begin):
            close = text.find(closing, begin)
            return len(text) if close < 0 else close + len(closing)
    return 0


def _drop_unopened_reasoning(text: str, start: int, regions: list[Region]) -> tuple[int, list[Region]]:
    """Drop what was drafted in a reasoning block that the prompt opened, so that the text only closes it.

    A closing tag inside an attempt is an argument's text and ends nothing.
    """
    if start or not any(closing in text for _, closing in _REASONING):
        return start, regions
    previous = 0
    for index, region in enumerate([*regions, Region(len(text), len(text), ())]):
        for _, closing in _REASONING:
            close = text.find(closing, previous, region.start)
            if close >= 0:
                return close + len(closing), regions[index:]
        previous = region.end
    return start, regions
