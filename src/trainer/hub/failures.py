"""Explain in one line why the hub does not provide a dataset or a model, and what to do."""

from collections.abc import Iterator

from trainer.errors import ToolSftError
from trainer.hub.names import Use
from trainer.hub.nearby import local_path, whats_there
from trainer.util.secrets import hide

_LOG_IN = "run `hf auth login`, or set HF_TOKEN"
_N_REFS_SHOWN = 8


def hub_failure(error: BaseException, use: Use, name: str, *, revision: str | None) -> ToolSftError | None:
    """The error for a user, if the hub refused a repository or could not be reached; None for any other failure."""
    from huggingface_hub.errors import (
        GatedRepoError,
        HfHubHTTPError,
        RepositoryNotFoundError,
        RevisionNotFoundError,
        RevisionResolutionError,
    )

    for found in _chain(error):
        if isinstance(found, RevisionNotFoundError):
            return use.error(_unknown_revision(use, name, revision))
        if isinstance(found, GatedRepoError):
            return use.error(_gated(use, name))
        if isinstance(found, RepositoryNotFoundError):
            return use.error(
                f"{use.key}: the hub has no {use.repo_type} {name}, or it is private; check the spelling, or "
                f"{_LOG_IN}{_nearby(name)}"
            )
        if isinstance(found, HfHubHTTPError) and found.response.status_code in (401, 403):
            status = found.response.status_code
            return use.error(
                f"{use.key}: the hub refused access to {name} (status {status}); {_LOG_IN} to a token that may read it"
            )
        if isinstance(found, RevisionResolutionError | ConnectionError):
            return use.error(_unreachable(found, use, name, revision))
    if "gated" in str(error):  # some libraries hide the cause
        return use.error(_gated(use, name))
    return None


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__


def _gated(use: Use, name: str) -> str:
    from huggingface_hub import constants

    place = hide(f"{constants.ENDPOINT}/{'datasets/' if use.repo_type == 'dataset' else ''}{name}")
    return f"{use.key}: {name} is gated; ask for access at {place}, then {_LOG_IN}"


def _unknown_revision(use: Use, name: str, revision: str | None) -> str:
    known = _branches_and_tags(use, name)
    has = f"; it has {', '.join(known)}" if known else ""
    if revision is None:
        return f"{use.key}: {name} has no branch main{has}. Set {use.revision_key}"
    return f"{use.revision_key}: {name} has no branch, tag or commit {revision}{has}. Choose one of them, or a commit"


def _branches_and_tags(use: Use, name: str) -> list[str]:
    from huggingface_hub import HfApi

    try:
        refs = HfApi().list_repo_refs(name, repo_type=use.repo_type)
    except Exception:  # only for the message, which is useful without them
        return []
    names = [ref.name for ref in (*refs.branches, *refs.tags)]
    return names[:_N_REFS_SHOWN] + ["…"] * (len(names) > _N_REFS_SHOWN)


def _nearby(name: str) -> str:
    found = whats_there(local_path(name))
    return f"; for a local path, {found}" if found.startswith("did you mean") else ""


def _unreachable(error: BaseException, use: Use, name: str, revision: str | None) -> str:
    from huggingface_hub import constants

    copy = "" if revision is None else f", revision {revision}"
    where = f"{use.key}: {name}{copy} is neither a local path nor a reachable hub {use.repo_type}"
    if constants.HF_HUB_OFFLINE:
        return (
            f"{where}: HF_HUB_OFFLINE is set, and the cache has no complete copy; unset it, or download {name} before"
        )
    reason = str(error.__cause__ or error).strip().splitlines()[0:1]
    return hide(
        f"{where}: {constants.ENDPOINT} cannot be reached ({''.join(reason)}), and the cache has no complete copy; "
        "check the connection and HF_ENDPOINT"
    )
