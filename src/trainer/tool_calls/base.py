"""Define what a tool-call format is: a reader of model text and a reference writer. Defines no particular format."""

import re
from collections.abc import Callable, Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

from trainer.tool_calls.mentions import is_mention
from trainer.tool_calls.readers import Finder
from trainer.tool_calls.reasoning import outside_reasoning
from trainer.tools.parameters import function_of, schema_nodes
from trainer.tools.schema import SchemaNode
from trainer.types import Call, CallStatus, ParsedCall, ParsedText, Tool

# A text that begins like this is a call that lost its markers, not an answer to the user. This counts only at the
# very beginning: JSON that is quoted inside prose is prose.
_BARE_CALL = re.compile(
    r'\s*(?:```(?:json)?\s*)?(?:\[\s*)?\{\s*"name"\s*:\s*"[^"]*"\s*,\s*"(?:arguments|parameters)"\s*:'
)
# Where an unreadable call without a marker may name its tool: in JSON, in a Python dictionary, or before a bracket.
_NAMED = re.compile(r"""["']name["']\s*+:\s*+["']([^"'\n]++)["']|([^\W\d][\w.\-]*+)\s*+\(""")


class Region(NamedTuple):
    """A part of model text that is not prose: `text[start:end]` with its markers, and the attempted calls in it.

    `is_bare` calls have no marker, so only their names distinguish them from JSON or Python in an answer.
    """

    start: int
    end: int
    calls: tuple[ParsedCall, ...]
    is_bare: bool = False


class Source(NamedTuple):
    """The input of a scanner: the text, where to begin, and the schemas of the tools if the format needs them."""

    text: str
    start: int
    nodes: Mapping[str, SchemaNode]


Scan = Callable[[Source], Iterable[Region]]


def is_mentioned(region: Region, text: str, marker: str) -> bool:
    """Return whether a region that begins with a marker is prose: it has no arguments, and a sentence mentions it."""
    return not any(call.arguments for call in region.calls) and is_mention(text, region.start, marker)


def attempt(
    text: str,
    span: tuple[int, int],
    *,
    status: CallStatus,
    name: str | None = None,
    arguments: dict[str, Any] | None = None,
) -> ParsedCall:
    """Return the record of one attempted call at `text[span[0]:span[1]]`."""
    start, end = span
    return ParsedCall(status=status, raw=text[start:end], start=start, end=end, name=name, arguments=arguments)


def scan_marked(
    source: Source, markers: Sequence[str], read: Callable[[Source, int, Finder], Region | None]
) -> Iterator[Region]:
    """Yield the regions that begin at a marker.

    `read` receives the position of a marker. It returns a region that ends after that position, or None if the
    marker is part of the prose. A marker that the prose only mentions opens no region (see `is_mention`).
    """
    text, finder = source.text, Finder(source.text)
    position = finder.first(markers, source.start)
    while position < len(text):
        region = read(source, position, finder)
        if region is not None:
            marker = max((one for one in markers if text.startswith(one, position)), key=len)
            region = None if is_mentioned(region, text, marker) else region
        if region is not None:
            yield region
        position = finder.first(markers, region.end if region is not None else position + 1)


@dataclass(frozen=True, slots=True)
class ToolCallFormat:
    """One way of writing tool calls as text.

    `vllm_parser` is the value of vLLM's `--tool-call-parser` for this format, or None if vLLM has no parser for it.
    `wrappers` are markers around all the calls of a turn, and `header` is the header of a message that holds one. They
    belong neither to a call nor to the prose.
    `needs_schema` means that the text does not show the type of a value (`5` may be a number or a string), so
    exact reading needs the tools.
    """

    name: str
    vllm_parser: str | None
    scan: Scan
    write: Callable[[Sequence[Call]], str]
    wrappers: tuple[str, ...] = ()
    needs_schema: bool = False
    header: re.Pattern[str] | None = None

    def parse(self, text: str, *, finished: bool = True, tools: Sequence[Tool] = ()) -> ParsedText:
        """Split model text into prose and attempted calls, in linear time. Never raises and never evaluates code.

        Every attempted call is kept, in order, with its status and its span. `content` is the prose outside
        them, without the reasoning block. `finished=False` means that generation hit its token limit: an
        unclosed last attempt is then `truncated`, not `unclosed`. `tools` are those that the turn offers. They are
        needed for the type of untyped values. Without a marker, text is a call only if it names one of them; without
        `tools`, any name will do.
        """
        start, regions = self._split(text, tools)
        calls = [call for region in regions for call in region.calls]
        ends_with_call = bool(calls) and bool(regions[-1].calls) and not text[regions[-1].end :].strip()
        if not finished and ends_with_call and calls[-1].status == "unclosed":
            calls[-1] = replace(calls[-1], status="truncated")
        return ParsedText(content=self._prose(text, start, regions), calls=tuple(calls))

    def call_starts(self, text: str, *, tools: Sequence[Tool] = ()) -> list[int]:
        """Return where the calls of a text begin: at their markers, or at the wrapper or the header before them.

        Calls that share a marker have one beginning.
        """
        _, regions = self._split(text, tools)
        return sorted({self._with_wrappers(text, region.start) for region in regions if region.calls})

    def _with_wrappers(self, text: str, start: int) -> int:
        """Return where the wrappers and headers directly before `start` begin; `start` if there are none."""
        while True:
            before = text[:start].rstrip()
            ends = [len(wrapper) for wrapper in self.wrappers if before.endswith(wrapper)]
            if self.header is not None:
                ends += [len(found[0]) for found in self.header.finditer(before) if found.end() == len(before)]
            if not max(ends, default=0):
                return start
            start = len(before) - max(ends)

    def _split(self, text: str, tools: Sequence[Tool]) -> tuple[int, list[Region]]:
        """Return where the answer begins, after its reasoning, and the regions that are not prose. See `parse`."""
        nodes = schema_nodes(tools) if self.needs_schema else {}
        start, regions = outside_reasoning(text, lambda begin: self.scan(Source(text, begin, nodes)))
        offered = {function_of(tool).get("name") for tool in tools}
        regions = [one for one in regions if not (one.is_bare and offered) or _names_one(one, offered)]
        if not any(region.calls for region in regions) and _BARE_CALL.match(text, start):
            span = (start + _n_leading_spaces(text[start:]), len(text))
            lost = Region(*span, (attempt(text, span, status="unclosed"),))
            regions = [lost] if not offered or _names_one(lost, offered) else regions
        return start, regions

    def render(self, calls: Sequence[Call]) -> str:
        """Return the reference text of `calls`, as a model would write it, without the stop token.

        Some values cannot be expressed in a format, such as its own delimiter inside a string, and are not read
        back correctly. docs/tool-call-formats.md lists them, and `check_round_trip` finds them.
        """
        return self.write(calls)

    def _prose(self, text: str, start: int, regions: Sequence[Region]) -> str:
        pieces = []
        for region in [*regions, Region(len(text), len(text), ())]:
            piece = text[start : region.start]
            for wrapper in self.wrappers:
                piece = piece.replace(wrapper, "")
            if self.header is not None:
                piece = self.header.sub("", piece)
            pieces.append(piece.strip())
            start = region.end
        return "\n".join(piece for piece in pieces if piece)


def _n_leading_spaces(text: str) -> int:
    return len(text) - len(text.lstrip())


def _names_one(region: Region, offered: Container[object]) -> bool:
    """Return whether a call of the region names an offered tool, as far as its name can be read."""
    if any(call.name in offered for call in region.calls if call.name is not None):
        return True
    unnamed = (call for call in region.calls if call.name is None)
    return any((match[1] or match[2]) in offered for call in unnamed for match in _NAMED.finditer(call.raw))
