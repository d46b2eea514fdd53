"""Upload a finished run to a repository of the hub: an allowed list of files, private unless told otherwise."""

import logging
from dataclasses import dataclass
from pathlib import Path

from trainer.config import Config
from trainer.errors import ConfigError, EndpointError, OutputError, ToolSftError
from trainer.training.finished_run import read_run
from trainer.training.publishing.shared_files import SharedFile, shared_files
from trainer.util.secrets import hide

logger = logging.getLogger(__name__)

_MESSAGE = "Adapter and metrics"


@dataclass(frozen=True, slots=True)
class Target:
    """Where to upload: a repository, on a branch (None: main), with a token (None: that of the login)."""

    repo_id: str
    private: bool = True
    token: str | None = None
    revision: str | None = None


def upload_target(cfg: Config) -> Target | None:
    """Return where a training uploads its run; None if it does not. Raises `ConfigError`."""
    train = cfg.train
    if not train.get("push_to_hub"):
        return None
    strategy = train.get("hub_strategy", "end")
    if strategy != "end":
        raise ConfigError(
            f"train.hub_strategy: got {strategy!r}; uploads during training are not supported, because they would take "
            "checkpoints and everything else in the folder with them; leave the key out, or set it to end"
        )
    return Target(
        train.get("hub_model_id") or cfg.output_dir.absolute().name,
        private=train.get("hub_private_repo") is not False,
        token=train.get("hub_token"),
        revision=train.get("hub_revision"),
    )


def check_target(target: Target | None) -> None:
    """Create the repository before long work, or raise `ConfigError` with what the hub has against it."""
    if target is not None:
        try:
            _repository(target)
        except _failures() as error:
            message = f"train.push_to_hub: the hub refused {target.repo_id}: {_first_line(error)}"
            raise ConfigError(hide(message)) from error


def upload_finished(folder: Path, target: Target | None) -> None:
    """Upload a run that has just been completed. Raises `EndpointError` with the command that uploads it later."""
    if target is None:
        return
    try:
        push_run(folder, target)
    except ToolSftError as error:
        later = f"tool-sft push --run {folder} --repo {target.repo_id}{'' if target.private else ' --public'}"
        raise EndpointError(
            hide(f"the run in {folder} is complete, but it was not uploaded: {error}. To upload it later: {later}")
        ) from error


def push_run(folder: Path, target: Target) -> str:
    """Upload a run, and return the address of the repository.

    Logs first what goes where. Raises `OutputError` for what must not be uploaded, and `EndpointError` if the hub
    refuses it.
    """
    from huggingface_hub import CommitOperationAdd, HfApi

    files = shared_files(read_run(folder))
    try:
        repo_id, url = _repository(target)
        for line in _lines(files, target, url):
            logger.info(line)
        operations = [
            CommitOperationAdd(name, str(content) if isinstance(content, Path) else content) for name, content in files
        ]
        api = HfApi()
        if target.revision is not None:
            api.create_branch(repo_id, branch=target.revision, token=target.token, exist_ok=True)
        api.create_commit(repo_id, operations, commit_message=_MESSAGE, token=target.token, revision=target.revision)
    except _failures() as error:
        if isinstance(error, ToolSftError):
            raise
        raise EndpointError(hide(f"{target.repo_id}: the upload failed: {_first_line(error)}")) from error
    return url


def _repository(target: Target) -> tuple[str, str]:
    """Create the repository unless it exists. Returns its full id and address.

    Raises `OutputError` if it is public and should be private, and the errors of the hub.
    """
    from huggingface_hub import HfApi

    api = HfApi()
    made = api.create_repo(target.repo_id, private=target.private, token=target.token, exist_ok=True)
    if target.private and not api.model_info(made.repo_id, token=target.token).private:
        raise OutputError(
            f"{made.repo_id} exists and is public; make it private on the hub, or allow that with "
            "train.hub_private_repo=false (tool-sft push --public)"
        )
    return made.repo_id, str(made)


def _lines(files: tuple[SharedFile, ...], target: Target, url: str) -> list[str]:
    kind = "private" if target.private else "PUBLIC"
    total = sum(file.n_bytes for file in files)
    width = max(len(file.name) for file in files)
    head = f"uploading {len(files)} files ({_size(total)}) to {url} ({kind}):"
    return [head, *(f"  {file.name:<{width}}  {_size(file.n_bytes)}" for file in files)]


def _size(n_bytes: int) -> str:
    return f"{n_bytes / 1e6:.1f} MB" if n_bytes >= 1e5 else f"{n_bytes / 1e3:.1f} kB"


def _failures() -> tuple[type[Exception], ...]:
    import httpx2

    return (OSError, ValueError, RuntimeError, httpx2.HTTPError)


def _first_line(error: Exception) -> str:
    return next(iter(str(error).strip().splitlines()), type(error).__name__)
