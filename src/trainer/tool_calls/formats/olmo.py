"""The format of OLMo 3: function calls in Python's notation, one per line, between two tags."""

from collections.abc import Iterator, Sequence

from trainer.tool_calls.base import Region, Source, ToolCallFormat, attempt, scan_marked
from trainer.tool_calls.formats.blocks import one_attempt
from trainer.tool_calls.formats.pythonic import _read_call
from trainer.tool_calls.readers import CallParts, Finder
from trainer.types import Call, ParsedCall
from trainer.values.json_reader import to_json
from trainer.values.literals import skip_blank

_OPEN, _CLOSE = "<function_calls>", "</function_calls>"


def _scan(source: Source) -> Iterator[Region]:
    return scan_marked(source, (_OPEN,), _read_block)


def _read_block(source: Source, start: int, finder: Finder) -> Region:
    """Read calls up to the closing tag. What cannot be read is one attempt, and so is the last call without the tag."""
    text, calls = source.text, list[ParsedCall]()
    position = skip_blank(text, start + len(_OPEN))
    begin = start
    while not text.startswith(_CLOSE, position) and position < len(text):
        parts, end = _read_call(text, position)
        if parts.status != "ok":
            return _broken(text, (start, position), calls, parts, finder)
        begin = position
        calls.append(attempt(text, (begin, end), **parts._asdict()))
        position = skip_blank(text, end)
        if text.startswith(",", position):
            position = skip_blank(text, position + 1)
    if position >= len(text):
        span = (begin, len(text))
        return Region(start, len(text), (*calls[:-1], *one_attempt(text, span, CallParts("unclosed")).calls))
    end = position + len(_CLOSE)
    if not calls:
        return one_attempt(text, (start, end), CallParts("missing_name"))
    return Region(start, end, tuple(calls))


def _broken(
    text: str, begins: tuple[int, int], calls: Sequence[ParsedCall], parts: CallParts, finder: Finder
) -> Region:
    """Return the block that begins at `begins[0]`, whose call at `begins[1]` cannot be read."""
    start, position = begins
    close, next_open = finder.find(_CLOSE, position), finder.find(_OPEN, position)
    is_closed = close < next_open
    if not is_closed:
        parts = CallParts("unclosed")
    elif parts.status == "unclosed":
        parts = CallParts("invalid_json")
    end = close + len(_CLOSE) if is_closed else next_open
    last = attempt(text, (position, close if is_closed else end), **parts._asdict())
    return Region(start, end, (*calls, last))


def _write(calls: Sequence[Call]) -> str:
    return _OPEN + "\n".join(map(_write_call, calls)) + _CLOSE


def _write_call(call: Call) -> str:
    return f"{call.name}({', '.join(f'{key}={to_json(value)}' for key, value in call.arguments.items())})"


OLMO3 = ToolCallFormat("olmo3", "olmo3", _scan, _write)
