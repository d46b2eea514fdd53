"""When to ask a server again, and how long to wait before. Sends nothing."""

import random
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

RETRIED_STATUS = frozenset({408, 429, *range(500, 600)})
"""Answers that say "not now": request timeout, too many requests, and failures of the server."""


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """Exponential backoff with jitter.

    A request is sent at most `n_attempts` times. A server that tells to wait longer than `longest_told_wait_s`
    is not waited for.
    """

    n_attempts: int = 6
    first_wait_s: float = 0.5
    longest_wait_s: float = 20.0
    longest_told_wait_s: float = 300.0

    def wait_s(self, n_failed: int, told_s: float | None) -> float | None:
        """Seconds to wait after the `n_failed`th failure; None: give up.

        The wait doubles each time, and lies between its half and its whole by chance, so that many clients do not
        come back at the same moment. What the server told (`Retry-After`) is the least.
        """
        if n_failed >= self.n_attempts or (told_s or 0.0) > self.longest_told_wait_s:
            return None
        backoff = min(self.longest_wait_s, self.first_wait_s * 2.0 ** (n_failed - 1))
        return max(backoff * random.uniform(0.5, 1.0), told_s or 0.0)


def retry_after_s(value: str | None, *, now: datetime | None = None) -> float | None:
    """Seconds of a `Retry-After` header (RFC 9110: a number of seconds or a date); None where it says nothing."""
    if value is None:
        return None
    try:
        seconds = float(value)
    except ValueError:
        try:
            moment = parsedate_to_datetime(value)
        except ValueError:
            return None
        if moment.tzinfo is None:
            moment = moment.replace(tzinfo=UTC)
        seconds = (moment - (now or datetime.now(UTC))).total_seconds()
    return max(seconds, 0.0) if seconds < float("inf") else None
