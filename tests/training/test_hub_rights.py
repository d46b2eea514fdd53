"""Before a run, the hub is asked whether the results may be pushed; every refusal is one line."""

from types import SimpleNamespace
from typing import Any

import pytest
from huggingface_hub.errors import HfHubHTTPError, LocalTokenNotFoundError, RepositoryNotFoundError

from tests.support.quick import QUICKSTART
from trainer.config import Config, load_config
from trainer.errors import ConfigError
from trainer.training.checks.hub_rights import check_hub_rights

ACCOUNT = {"name": "me", "orgs": [{"name": "team", "roleInOrg": "write"}, {"name": "guests", "roleInOrg": "read"}]}


def config(name: str) -> Config:
    return load_config(QUICKSTART, ["train.push_to_hub=true", f"train.hub_model_id={name}"])


def failure(kind: type[HfHubHTTPError], status: int, text: str) -> HfHubHTTPError:
    error = kind.__new__(kind)
    OSError.__init__(error, text)
    error.response = SimpleNamespace(status_code=status)  # type: ignore[assignment]
    return error


def stub(monkeypatch: pytest.MonkeyPatch, *, account: Any = ACCOUNT, access: Exception | None = None) -> None:
    def whoami(api: object) -> Any:
        if isinstance(account, Exception):
            raise account
        return account

    def auth_check(api: object, name: str, *, write: bool) -> None:
        assert write
        if access is not None:
            raise access

    monkeypatch.setattr("huggingface_hub.HfApi.whoami", whoami)
    monkeypatch.setattr("huggingface_hub.HfApi.auth_check", auth_check)


def test_a_repository_that_may_be_written_is_accepted(monkeypatch: pytest.MonkeyPatch) -> None:
    stub(monkeypatch)
    check_hub_rights(config("me/adapter"))


@pytest.mark.parametrize("name", ["me/new", "team/new", "new"])
def test_a_new_repository_in_a_namespace_of_ones_own_is_accepted(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    stub(monkeypatch, access=failure(RepositoryNotFoundError, 404, "none"))
    check_hub_rights(config(name))


@pytest.mark.parametrize(
    ("name", "account", "access", "expected"),
    [
        ("me/a", LocalTokenNotFoundError("no token"), None, "you are not logged in"),
        (
            "me/a",
            failure(HfHubHTTPError, 401, "invalid token"),
            None,
            "the hub refused me/a: invalid token; run",
        ),
        ("me/a", ACCOUNT, failure(HfHubHTTPError, 403, "read only"), "the hub refused me/a: read only"),
        ("me/a", ACCOUNT, failure(HfHubHTTPError, 500, "down"), "cannot answer for me/a: down; try again later"),
        ("me/a", ConnectionError("no route"), None, r"cannot be reached \(no route\)"),
        ("other/a", ACCOUNT, failure(RepositoryNotFoundError, 404, "none"), "me may not create other/a.*me, team"),
        ("guests/a", ACCOUNT, failure(RepositoryNotFoundError, 404, "none"), "me may not create guests/a"),
        (
            "me/a",
            {**ACCOUNT, "auth": {"accessToken": {"role": "read"}}},
            failure(RepositoryNotFoundError, 404, "none"),
            "the token of me may only read",
        ),
    ],
)
def test_a_refusal_is_one_line(
    name: str, account: Any, access: Exception | None, expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    stub(monkeypatch, account=account, access=access)
    with pytest.raises(ConfigError, match=expected) as caught:
        check_hub_rights(config(name))
    assert "\n" not in str(caught.value)


def test_the_hub_is_not_asked_if_nothing_is_pushed(monkeypatch: pytest.MonkeyPatch) -> None:
    stub(monkeypatch, account=ConnectionError("not reached"))
    check_hub_rights(load_config(QUICKSTART))
