"""Requests go to the address as typed; files and messages show it without user, password and query values."""

import json

import pytest

from trainer.endpoint import Endpoint, EndpointSettings, base_url, read_address, read_answer
from trainer.endpoint.client import _error_message
from trainer.errors import EndpointError
from trainer.util.secrets import hide, remember


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


@pytest.mark.parametrize("n_before", [0, 100, 115, 285, 295, 310])
def test_a_secret_that_a_server_repeats_is_hidden_before_its_message_is_cut(n_before: int) -> None:
    remember("planted-token-of-a-user")
    text = "x" * n_before + "planted-token-of-a-user"
    body = json.dumps({"error": {"message": text}}).encode()
    told = [_error_message(body), _error_message(text.encode())]
    told += [str(read_answer(sent).error) for sent in (text.encode(), b"<html>" + text.encode(), body)]
    assert not [one for one in told if "plan" in one]
    assert "***" in "".join(told) or n_before > 295


def test_the_key_of_a_connection_is_known() -> None:
    Endpoint(EndpointSettings("http://h:1", "sk-of-a-user"))
    assert hide("the key sk-of-a-user is wrong") == "the key *** is wrong"
