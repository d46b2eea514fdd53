"""Ask the hub before a run whether its results may be pushed at the end. Creates and uploads nothing."""

from collections.abc import Mapping
from typing import Any

from trainer.config import Config
from trainer.errors import ConfigError

_LOG_IN = "run `hf auth login` with a token that may write, or set HF_TOKEN"
_KEY = "train.push_to_hub"


def check_hub_rights(cfg: Config) -> None:
    """Refuse a run whose `train.push_to_hub` would fail. Raises `ConfigError` in one line.

    Asks for the account, then for write access to the repository, or to its namespace if it does not exist yet.
    """
    if not cfg.train.get("push_to_hub"):
        return
    import httpx2
    from huggingface_hub import HfApi
    from huggingface_hub.errors import HfHubHTTPError, LocalTokenNotFoundError, RepositoryNotFoundError

    name, api = str(cfg.train["hub_model_id"]), HfApi(token=cfg.train.get("hub_token"))
    try:
        account = api.whoami()
        try:
            api.auth_check(name, write=True)
        except RepositoryNotFoundError:
            _check_namespace(name, account)
    except LocalTokenNotFoundError:
        raise ConfigError(f"{_KEY}: you are not logged in to the hub; {_LOG_IN}") from None
    except HfHubHTTPError as error:
        if error.response.status_code in (401, 403):
            raise ConfigError(f"{_KEY}: the hub refused {name}: {_reason(error)}; {_LOG_IN}") from error
        raise ConfigError(f"{_KEY}: the hub cannot answer for {name}: {_reason(error)}; try again later") from error
    except (OSError, httpx2.HTTPError, ValueError) as error:
        if isinstance(error, ConfigError):
            raise
        raise ConfigError(
            f"{_KEY}: the hub cannot be reached ({_reason(error)}); check the connection and HF_HUB_OFFLINE, or set "
            f"{_KEY}=false and push the run folder later"
        ) from error


def _check_namespace(name: str, account: Mapping[str, Any]) -> None:
    """Refuse a new repository in a namespace that the account or its token may not write to."""
    user = str(account.get("name", ""))
    owner = name.partition("/")[0] if "/" in name else user
    token = (account.get("auth") or {}).get("accessToken") or {}
    if token.get("role") == "read":
        raise ConfigError(f"{_KEY}: the token of {user} may only read; {_LOG_IN}")
    roles = {str(org.get("name")): org.get("roleInOrg") for org in account.get("orgs") or ()}
    if owner != user and (owner not in roles or roles[owner] == "read"):
        own = ", ".join([user, *(org for org, role in roles.items() if role != "read")])
        raise ConfigError(
            f"train.hub_model_id: {user} may not create {name}; use one of the namespaces {own}, or ask {owner} for "
            "the right to write"
        )


def _reason(error: Exception) -> str:
    return next(iter(str(error).strip().splitlines()), type(error).__name__).rstrip(".")
