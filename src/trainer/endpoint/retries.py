"""Decide whether to retry a request, and how long to wait first. Sends nothing."""

import random
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

RETRIED_STATUS = frozenset({408, 429, *range(500, 600)})
"""Temporary failures: request timeout, too many requests, and server errors."""


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """Exponential backoff with jitter.

    A request is sent at most `n_attempts` times. If the server requests a wait longer than
    `longest_requested_wait_s`, the request is given up.
    """

    n_attempts: int = 6
    first_wait_s: float = 0.5
    longest_wait_s: float = 20.0
    longest_requested_wait_s: float = 300.0

    def wait_s(self, n_failed: int, requested_s: float | None) -> float | None:
        """Return the seconds to wait after the `n_failed`th failure, or None to give up.

        The wait doubles each time. The result is a random value between half of it and all of it, so that many
        clients do not return at the same moment. It is never shorter than `requested_s`, the wait that the server
        requests (`Retry-After`).
        """
        if n_failed >= self.n_attempts or (requested_s or 0.0) > self.longest_requested_wait_s:
            return None
        backoff = min(self.longest_wait_s, self.first_wait_s * 2.0 ** (n_failed - 1))
        return max(backoff * random.uniform(0.5, 1.0), requested_s or 0.0)


def retry_after_s(value: str | None, *, now: datetime | None = None) -> float | None:
    """Return the seconds of a `Retry-After` header (RFC 9110: a number of seconds or a date), or None if unreadable."""
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
