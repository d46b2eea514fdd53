"""Stand in for the hub's API of uploads: keeps what it receives, and refuses on demand."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest


@dataclass
class ReceivedUploads:
    """What the hub received: repositories with their options, and commits with the content of each file."""

    public: bool = False
    refusal: Exception | None = None
    created: list[dict[str, Any]] = field(default_factory=list)
    branches: list[str] = field(default_factory=list)
    commits: list[dict[str, Any]] = field(default_factory=list)

    @property
    def files(self) -> dict[str, bytes]:
        """The files of the only commit."""
        (commit,) = self.commits
        files: dict[str, bytes] = commit["files"]
        return files

    def install(self, monkeypatch: pytest.MonkeyPatch) -> "ReceivedUploads":
        """Take the place of the hub until the test ends."""
        for name in ("whoami", "auth_check", "create_repo", "model_info", "create_branch", "create_commit"):
            method = getattr(self, f"_{name}")
            monkeypatch.setattr(f"huggingface_hub.HfApi.{name}", lambda api, *a, _m=method, **k: _m(*a, **k))
        for name in ("upload_folder", "upload_file"):
            monkeypatch.setattr(f"huggingface_hub.HfApi.{name}", self._unexpected)
        return self

    def _whoami(self, **options: Any) -> dict[str, Any]:
        return {"name": "me"}

    def _auth_check(self, repo_id: str, **options: Any) -> None:
        """Let everybody write everywhere."""

    def _create_repo(self, repo_id: str, **options: Any) -> Any:
        self.created.append({"name": repo_id, **options})

        class Url(str):
            """The address of a repository, which knows its id."""

            __slots__ = ()
            repo_id = self.created[-1]["name"]

        return Url(f"https://hub.example/{repo_id}")

    def _model_info(self, repo_id: str, **options: Any) -> Any:
        return type("Info", (), {"private": not self.public})()

    def _create_branch(self, repo_id: str, *, branch: str, **options: Any) -> None:
        self.branches.append(branch)

    def _create_commit(self, repo_id: str, operations: Any, **options: Any) -> None:
        if self.refusal is not None:
            raise self.refusal
        files = {one.path_in_repo: _content(one.path_or_fileobj) for one in operations}
        self.commits.append({"name": repo_id, "files": files, **options})

    def _unexpected(self, *args: Any, **options: Any) -> None:
        raise AssertionError("only create_commit may upload")


def _content(given: Any) -> bytes:
    return given if isinstance(given, bytes) else Path(given).read_bytes()
