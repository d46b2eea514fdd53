"""The system prompt of a session, under the names that callers of this domain use. All of it is shared code."""

from trainer.util.clock import (
    DAYS_AHEAD,
    PLACEHOLDER,
    UNKNOWN_DATE,
    WEEKDAYS,
    datetime_line,
    session_datetime,
    short_date,
)
from trainer.util.session_prompt import (
    build_system_prompt,
    live_system_prompt,
    shuffle_template,
    split_blocks,
    split_sections,
)

__all__ = [
    "DAYS_AHEAD",
    "PLACEHOLDER",
    "UNKNOWN_DATE",
    "WEEKDAYS",
    "build_system_prompt",
    "datetime_line",
    "live_system_prompt",
    "session_datetime",
    "short_date",
    "shuffle_template",
    "split_blocks",
    "split_sections",
]
