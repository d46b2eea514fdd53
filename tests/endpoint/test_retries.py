"""How long to wait before a retry."""

from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

from trainer.endpoint import RetryPolicy, retry_after_s


def test_waits_double_with_jitter_and_are_never_shorter_than_the_server_requests() -> None:
    policy = RetryPolicy(n_attempts=9, first_wait_s=1, longest_wait_s=8)
    for n_failed, whole in [(1, 1), (2, 2), (3, 4), (4, 8), (8, 8)]:
        waits = [policy.wait_s(n_failed, None) for _ in range(50)]
        assert all(wait is not None and whole / 2 <= wait <= whole for wait in waits)
        assert len(set(waits)) > 1
    assert policy.wait_s(1, 60.0) == 60.0
    assert policy.wait_s(9, None) is None
    assert policy.wait_s(1, 3600.0) is None


def test_retry_after_is_a_number_or_a_date() -> None:
    now = datetime(2030, 1, 1, tzinfo=UTC)
    assert retry_after_s("7", now=now) == 7
    assert retry_after_s(format_datetime(now + timedelta(seconds=9), usegmt=True), now=now) == 9
    assert retry_after_s(format_datetime(now - timedelta(seconds=9), usegmt=True), now=now) == 0
    assert [retry_after_s(value, now=now) for value in (None, "soon", "nan", "inf", "")] == [None] * 5
