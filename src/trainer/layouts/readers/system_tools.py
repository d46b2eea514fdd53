"""Take the tools out of a system prompt that describes them as text, and the sentences that introduce them.

The chat template writes the tools again in its own words, so both would stand in the prompt.
"""

import re
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from trainer.tools.forms import tools_of
from trainer.types import Tool
from trainer.values.json_reader import read_json, skip_space
from trainer.values.literals import read_literal
from trainer.values.places import fail

_MOST_STARTS = 40  # places in a text where a list of tools may begin
_PERIOD = re.compile(r"\A\s*+\.(?=\s|\Z)")  # the end of the sentence that the tools were part of
_BLANK_LINES = re.compile(r"\n{3,}+")


class SystemTools(NamedTuple):
    """The tools of a system prompt, the rest of its text, and what was converted."""

    tools: tuple[Tool, ...]
    text: str
    converted: tuple[str, ...] = ()


def tools_between(text: str, opening: str, closing: str, where: str) -> SystemTools | None:
    """The tools between two markers, as one list or one after the other; None if there are no markers."""
    position = _block_start(text, opening, closing)
    if position < 0:
        return None
    body, end = position + len(opening), text.find(closing, position)
    if end < 0:
        fail(where, f"{opening} is not closed; add {closing}")
    values = []
    while (body := skip_space(text, body)) < end:
        read = read_json(text, body)
        if read.failure is not None or read.end > end:
            literal = read_literal(text, body)
            if literal.failure is not None or literal.end > end:
                fail(
                    where,
                    f"the tools after {opening} are not JSON, near {text[read.end : read.end + 60]!r}; correct it",
                )
            read = literal
        values.append(read.value)
        body = skip_space(text, read.end)
        body += text.startswith(",", body)
    return _taken(text[:position], values, text[end + len(closing) :], where)


def tools_in_prose(text: str, start: str, where: str) -> SystemTools | None:
    """The tools of the first JSON in `text` that describes tools and matches `start`; None if there is none."""
    for match in _starts(start, text):
        values, end = _values(text, match)
        if values and all(
            _is_tool(item) for value in values for item in (value if isinstance(value, list) else [value])
        ):
            return _taken(text[:match], values, _PERIOD.sub("", text[end:], count=1), where)
    return None


def without(text: str, sentences: Sequence[re.Pattern[str]], *, before_object: re.Pattern[str] | None = None) -> str:
    """The text without the sentences that introduce the tools, and without the gaps they leave.

    The sentence `before_object` goes together with the JSON object after it.
    """
    introduction = before_object.search(text) if before_object else None
    if introduction:
        reads = [read(text, introduction.end()) for read in (read_json, read_literal)]
        end = next((read.end for read in reads if read.failure is None), introduction.end())
        text = text[: introduction.start()] + text[end:].lstrip()
    for sentence in sentences:
        text = sentence.sub("", text)
    return _BLANK_LINES.sub("\n\n", text).strip()


def _block_start(text: str, opening: str, closing: str) -> int:
    """Where a block begins; `<tools></tools>` with nothing in it is prose about the block."""
    position = text.find(opening)
    while position >= 0 and text.startswith(closing, skip_space(text, position + len(opening))):
        later = text.find(opening, position + len(opening))
        if later < 0:
            return position
        position = later
    return position


def _starts(pattern: str, text: str) -> Iterator[int]:
    for n, match in enumerate(re.finditer(pattern, text)):
        if n == _MOST_STARTS:
            return
        yield match.start()


def _values(text: str, position: int) -> tuple[list[Any], int]:
    """The JSON values one after the other from a position, and where they end."""
    values, end = [], position
    while text[position : position + 1] in ("{", "["):
        read = read_json(text, position)
        if read.failure is not None:
            break
        values.append(read.value)
        end = read.end
        position = skip_space(text, end)
        position = skip_space(text, position + 1) if text.startswith(",", position) else position
    return values, end


def _is_tool(value: Any) -> bool:
    return isinstance(value, dict) and (isinstance(value.get("name"), str) or isinstance(value.get("function"), dict))


def _taken(before: str, values: list[Any], after: str, where: str) -> SystemTools:
    items = [item for value in values for item in (value if isinstance(value, list) else [value])]
    read = tools_of(items, where, from_text=True)
    return SystemTools(read.tools, before + after, ("tools taken out of the system prompt", *read.converted))
