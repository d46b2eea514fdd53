"""Requests go to the address as typed; files and messages show it without user, password and query values."""

import pytest

from trainer.endpoint import base_url, read_address
from trainer.errors import EndpointError


@pytest.mark.parametrize(
    ("typed", "asked", "shown"),
    [
        ("http://h:1", "http://h:1/v1/models", "http://h:1/v1"),
        ("http://ann:pw@h:1/v1/", "http://ann:pw@h:1/v1/models", "http://h:1/v1"),
        ("https://token123@h/api?key=abc", "https://token123@h/api/models?key=abc", "https://h/api?key=***"),
        ("http://h/v1/chat/completions?a=1&b=2#x", "http://h/v1/models?a=1&b=2", "http://h/v1?a=***&b=***"),
        ("http://h?key=abc", "http://h/v1/models?key=abc", "http://h/v1?key=***"),
    ],
)
def test_an_address_is_used_whole_and_shown_without_secrets(typed: str, asked: str, shown: str) -> None:
    assert read_address(typed).at("/models") == asked
    assert base_url(typed) == shown


def test_an_error_about_an_address_has_no_password() -> None:
    with pytest.raises(EndpointError) as caught:
        base_url("ftp://ann:my-password@h/v1")
    assert "my-password" not in str(caught.value)
    assert "ann:***@h" in str(caught.value)
