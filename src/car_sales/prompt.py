"""Assemble a session's system prompt: the date and time line, and the template in the session's own order.

Pure functions of their arguments, which read no file, no clock and no random generator.
"""

import re
from collections.abc import Iterable, Iterator
from datetime import date, datetime, timedelta
from typing import Literal, NamedTuple
from zoneinfo import ZoneInfo

from trainer.errors import DataError
from trainer.util.ordering import digest_number, shuffled

PLACEHOLDER = "{{current_datetime}}"
"""Where the date and time line goes in the template. Without it, the line comes first in the prompt."""

UNKNOWN_DATE = "unknown"
"""The `inferred_date` of a session with an unknown date, which is then drawn from the session id."""

DAYS_AHEAD = 6
"""The number of following days that are spelled out."""

WEEKDAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")

_UNKNOWN_DATES_FROM = date(2024, 1, 1)
_UNKNOWN_DATES_DAYS = 3 * 365
_OPENING_MINUTE = 8 * 60
_OPEN_MINUTES = 12 * 60
_ISO_DATE = re.compile(r"\d{4}-\d{2}-\d{2}", re.ASCII)


def build_system_prompt(template: str, *, session_id: str, inferred_date: str, timezone: str) -> str:
    """Return the system prompt of one session.

    The `##` sections of the markdown template are shuffled, and so are the bullets within a section; everything
    above the first section stays on top. `{{current_datetime}}` becomes the line of `datetime_line`; in a
    template without it, that line comes first. Raises `DataError` for an unknown time zone or an
    `inferred_date` that is neither YYYY-MM-DD nor "unknown".
    """
    moment = session_datetime(session_id, inferred_date=inferred_date, timezone=timezone)
    line = datetime_line(moment, timezone=timezone)
    body = shuffle_template(template, session_id=session_id)
    return body.replace(PLACEHOLDER, line) if PLACEHOLDER in body else f"{line}\n\n{body}".rstrip()


def session_datetime(session_id: str, *, inferred_date: str, timezone: str) -> datetime:
    """Return the date and time of a session: its date, and a time of day drawn from its id (08:00-19:59).

    An unknown date is also drawn from the id. Raises `DataError` as `build_system_prompt` does.
    """
    zone = _zone(timezone)
    if inferred_date == UNKNOWN_DATE:
        offset = digest_number(f"date\x00{session_id}") % _UNKNOWN_DATES_DAYS
        day = _UNKNOWN_DATES_FROM + timedelta(days=offset)
    else:
        day = _parse_date(inferred_date, session_id=session_id)
    minute = _OPENING_MINUTE + digest_number(f"time\x00{session_id}") % _OPEN_MINUTES
    return datetime(day.year, day.month, day.day, minute // 60, minute % 60, tzinfo=zone)


def datetime_line(moment: datetime, *, timezone: str) -> str:
    """Return the line with the current date and time, and the dates of the following six days.

    The days are spelled out so the model can look up "tomorrow" and "on Saturday" instead of computing them; a
    seventh would have the same name as today. Each date is short and starts with the day, where dates differ.
    The English names are listed here because `strftime` follows the machine's locale.

    >>> datetime_line(datetime(2025, 3, 14, 10, 32), timezone="Europe/Zurich")[:98]
    'Current DateTime (Europe/Zurich): Friday 2025-03-14 10:32; tomorrow 15.03., Saturday 15.03., Sunda'
    """
    today = moment.date()
    ahead = [today + timedelta(days=n) for n in range(1, DAYS_AHEAD + 1)]
    days = [f"tomorrow {short_date(ahead[0])}", *(f"{WEEKDAYS[day.weekday()]} {short_date(day)}" for day in ahead)]
    now = f"{WEEKDAYS[today.weekday()]} {today.isoformat()} {moment.hour:02d}:{moment.minute:02d}"
    return f"Current DateTime ({timezone}): {now}; {', '.join(days)}"


def short_date(day: date) -> str:
    """Return a date as people write it here when the year is obvious.

    >>> short_date(date(2025, 3, 9))
    '09.03.'
    """
    return f"{day.day:02d}.{day.month:02d}."


def shuffle_template(template: str, *, session_id: str) -> str:
    """Return the template with its sections, and the bullets of each section, in the session's order.

    A bullet keeps its continuation lines. Only bullets of the same list are shuffled: a sub-heading or a
    paragraph between two lists keeps them separate. Blank lines are normalized.
    """
    preamble, sections = split_sections(template)
    blocks = [preamble] if preamble else []
    numbered = shuffled(enumerate(sections), key=f"sections\x00{session_id}")
    for number, section in numbered:
        # The number, not the heading, is the key: two sections may share a heading.
        blocks.append(_shuffle_bullets(section, key=f"bullets\x00{number}\x00{session_id}"))
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


def _shuffle_bullets(section: str, *, key: str) -> str:
    blocks = split_blocks(section)
    ordered: list[Block] = []
    run: list[Block] = []
    for position, block in enumerate((*blocks, Block("text", ""))):
        if block.kind == "bullet":
            run.append(block)
            continue
        ordered.extend(shuffled(run, key=f"{key}\x00{position}"))
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


def _zone(timezone: str) -> ZoneInfo:
    try:
        return ZoneInfo(timezone)
    except (KeyError, ValueError, OSError) as error:
        raise DataError(
            f"data.timezone: unknown time zone {timezone!r}; use a name of the IANA database such as "
            f'"Europe/Zurich" or "UTC"'
        ) from error


def _parse_date(text: str, *, session_id: str) -> date:
    try:
        if not _ISO_DATE.fullmatch(text):
            raise ValueError("not YYYY-MM-DD")
        day = date.fromisoformat(text)
        day + timedelta(days=DAYS_AHEAD)
    except (TypeError, ValueError, OverflowError) as error:
        raise DataError(
            f"session {session_id!r}: inferred_date is {text!r}; "
            f'it must be a date written YYYY-MM-DD, or "{UNKNOWN_DATE}"'
        ) from error
    return day
