"""The date and time of a session, drawn from its id, and the line that tells a model about them. Reads no clock."""

import re
from contextlib import suppress
from datetime import date, datetime, timedelta
from typing import NamedTuple
from zoneinfo import ZoneInfo

from trainer.errors import DataError
from trainer.util.ordering import digest_number

PLACEHOLDER = "{{current_datetime}}"
"""Where the date and time line goes in a system prompt template."""

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


class DateArgument(NamedTuple):
    """A keyword argument of a chat template that takes the date as text, and its `strftime` format."""

    name: str
    form: str

    def on(self, day: date) -> dict[str, str]:
        """Return the argument with the date of a day.

        >>> DateArgument("date_string", "%d %b %Y").on(date(2025, 3, 9))
        {'date_string': '09 Mar 2025'}
        """
        return {self.name: day.strftime(self.form)}


def session_datetime(session_id: str, *, inferred_date: str, timezone: str) -> datetime:
    """Return the date and time of a session: its date, and a time of day drawn from its id (08:00-19:59).

    An unknown date is also drawn from the id. Raises `DataError` for an unknown time zone, or a date that is neither
    YYYY-MM-DD nor "unknown".
    """
    zone = time_zone(timezone)
    day = session_day(session_id, inferred_date=inferred_date)
    minute = _OPENING_MINUTE + digest_number(f"time\x00{session_id}") % _OPEN_MINUTES
    return datetime(day.year, day.month, day.day, minute // 60, minute % 60, tzinfo=zone)


def session_day(session_id: str, *, inferred_date: str = UNKNOWN_DATE) -> date:
    """Return the date of a session; an unknown one is drawn from its id.

    Raises `DataError` for a date that is neither YYYY-MM-DD nor "unknown".
    """
    if inferred_date == UNKNOWN_DATE:
        offset = digest_number(f"date\x00{session_id}") % _UNKNOWN_DATES_DAYS
        return _UNKNOWN_DATES_FROM + timedelta(days=offset)
    return _parse_date(inferred_date, session_id=session_id)


def known_day(value: object, session_id: str) -> date:
    """Return the day that a row names, in any form that begins with a date, or else one drawn from the session id.

    >>> known_day("2024-05-01T10:00:00Z", "s"), known_day(date(2024, 5, 1), "s")
    (datetime.date(2024, 5, 1), datetime.date(2024, 5, 1))
    """
    if isinstance(value, datetime):
        return value.date()
    if isinstance(value, date):
        return value
    with suppress(ValueError):
        if isinstance(value, str) and _ISO_DATE.match(value):
            return date.fromisoformat(value[:10])
    return session_day(session_id)


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


def local_time(moment: datetime, *, timezone: str) -> datetime:
    """Return a moment in a time zone, where a moment without one already is. Raises `DataError` for an unknown name.

    >>> local_time(datetime.fromisoformat("2026-01-05T23:30+00:00"), timezone="Europe/Zurich").isoformat()
    '2026-01-06T00:30:00+01:00'
    """
    zone = time_zone(timezone)
    return moment.astimezone(zone) if moment.tzinfo else moment.replace(tzinfo=zone)


def time_zone(timezone: str) -> ZoneInfo:
    """Return the time zone of a name in the IANA database. Raises `DataError` for an unknown name."""
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
