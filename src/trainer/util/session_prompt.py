"""Assemble a session's system prompt: the date and time line, and the template in the session's own order.

Pure functions of their arguments, which read no file, no clock and no random generator.
"""

from collections.abc import Iterable, Iterator
from datetime import datetime
from typing import Literal, NamedTuple

from trainer.util.clock import PLACEHOLDER, datetime_line, session_datetime
from trainer.util.ordering import shuffled


def build_system_prompt(template: str, *, session_id: str, inferred_date: str, timezone: str) -> str:
    """Return the system prompt of one session.

    The `##` sections of the markdown template are shuffled, and so are the bullets within a section; everything
    above the first section stays on top. `{{current_datetime}}` becomes the line of `datetime_line`; in a
    template without it, that line comes first. Raises `DataError` for an unknown time zone or an
    `inferred_date` that is neither YYYY-MM-DD nor "unknown".
    """
    moment = session_datetime(session_id, inferred_date=inferred_date, timezone=timezone)
    return _with_datetime(shuffle_template(template, session_id=session_id), moment, timezone)


def live_system_prompt(template: str, *, now: datetime, timezone: str) -> str:
    """Return the system prompt for an application at the moment `now`, in local time of `timezone`.

    It is the prompt of training with the sections and bullets in the order of the template: training shows all orders.
    """
    return _with_datetime(shuffle_template(template, session_id=None), now, timezone)


def _with_datetime(body: str, moment: datetime, timezone: str) -> str:
    line = datetime_line(moment, timezone=timezone)
    return body.replace(PLACEHOLDER, line) if PLACEHOLDER in body else f"{line}\n\n{body}".rstrip()


def shuffle_template(template: str, *, session_id: str | None) -> str:
    """Return the template with its sections, and the bullets of each section, in the session's order.

    Without a session they keep their order.
    A bullet keeps its continuation lines. Only bullets of the same list are shuffled: a sub-heading or a
    paragraph between two lists keeps them separate. Blank lines are normalized.
    """
    preamble, sections = split_sections(template)
    blocks = [preamble] if preamble else []
    numbered = tuple(enumerate(sections))
    if session_id is not None:
        numbered = shuffled(numbered, key=f"sections\x00{session_id}")
    for number, section in numbered:
        # The number, not the heading, is the key: two sections may share a heading.
        key = None if session_id is None else f"bullets\x00{number}\x00{session_id}"
        blocks.append(_shuffle_bullets(section, key=key))
    return "\n\n".join(blocks)


def split_sections(template: str) -> tuple[str, tuple[str, ...]]:
    """Return the text above the first `##` heading, and each section with its heading, without outer blank lines."""
    chunks: list[list[str]] = [[]]
    for line, is_code in _lines(template):
        if not is_code and line.startswith("## "):
            chunks.append([])
        chunks[-1].append(line)
    preamble, *sections = ("\n".join(chunk).strip("\n") for chunk in chunks)
    return preamble, tuple(sections)


class Block(NamedTuple):
    """A piece of a section: a bullet with its continuation lines, or any other run of lines."""

    kind: Literal["bullet", "text"]
    text: str


def split_blocks(section: str) -> tuple[Block, ...]:
    """Return the bullets of a section and the text around them, in order, without outer blank lines."""
    kinds: list[Literal["bullet", "text"]] = []
    runs: list[list[str]] = []
    after_blank = False
    for line, is_code in _lines(section):
        starts_bullet = not is_code and line.startswith(("- ", "* "))
        # As in markdown, unindented text ends a bullet if it is a heading or follows a blank line.
        leaves_bullet = line.startswith("#") or (after_blank and line[:1].strip() != "")
        starts_text = not is_code and not starts_bullet and kinds[-1:] == ["bullet"] and leaves_bullet
        if not runs or starts_bullet or starts_text:
            kinds.append("bullet" if starts_bullet else "text")
            runs.append([])
        runs[-1].append(line)
        after_blank = not line.strip()
    texts = ("\n".join(run).strip("\n") for run in runs)
    return tuple(Block(kind, text) for kind, text in zip(kinds, texts, strict=True))


def _shuffle_bullets(section: str, *, key: str | None) -> str:
    blocks = split_blocks(section)
    ordered: list[Block] = []
    run: list[Block] = []
    for position, block in enumerate((*blocks, Block("text", ""))):
        if block.kind == "bullet":
            run.append(block)
            continue
        ordered.extend(run if key is None else shuffled(run, key=f"{key}\x00{position}"))
        ordered.append(block)
        run = []
    return "".join(_joined(ordered)).strip("\n")


def _joined(blocks: Iterable[Block]) -> Iterator[str]:
    previous = "text"
    for kind, text in blocks:
        # Without the blank line, markdown would read a paragraph after a list as part of its last bullet.
        yield f"\n\n{text}" if (previous, kind) == ("bullet", "text") else f"\n{text}"
        previous = kind


def _lines(text: str) -> Iterator[tuple[str, bool]]:
    """Yield each line and whether it belongs to fenced code, where `##` and `-` are not markdown."""
    is_code = False
    for line in text.replace("\r\n", "\n").split("\n"):
        is_fence = line.lstrip().startswith("```")
        yield line, is_code or is_fence
        is_code ^= is_fence
