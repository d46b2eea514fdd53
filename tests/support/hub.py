"""A small hub in a thread: repositories with branches, tags and commits, as much of the API as loading needs.

Programs find it through the environment variables of `StubHub.environment`, which huggingface_hub reads when it is
imported; so tests run them in a process of their own.
"""

import hashlib
import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Literal
from urllib.parse import unquote, urlsplit

Kind = Literal["model", "dataset"]
Files = Mapping[str, bytes]


@dataclass
class Repository:
    """One repository: its commits, and the names that point to them."""

    kind: Kind
    name: str
    commits: dict[str, Files] = field(default_factory=dict)
    branches: dict[str, str] = field(default_factory=dict)
    tags: dict[str, str] = field(default_factory=dict)
    gated: bool = False

    def commit(self, files: Files, *, branch: str = "main", tag: str | None = None) -> str:
        """Add a commit, move a branch and perhaps a tag to it, and return its name."""
        content = json.dumps([self.kind, self.name, len(self.commits)])
        sha = hashlib.sha1(content.encode()).hexdigest()
        self.commits[sha] = dict(files)
        self.branches[branch] = sha
        if tag is not None:
            self.tags[tag] = sha
        return sha

    def resolve(self, revision: str) -> str | None:
        """Return the commit of a branch, a tag or a commit."""
        if revision in self.commits:
            return revision
        return self.branches.get(revision) or self.tags.get(revision)


@dataclass(frozen=True)
class Reply:
    """One response."""

    status: int = 200
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)


class StubHub:
    """The repositories of a hub, and the requests that it received."""

    def __init__(self) -> None:
        self.repositories: dict[tuple[Kind, str], Repository] = {}
        self.requests: list[str] = []
        self.url = ""
        self.actions: dict[str, Callable[[], object]] = {}
        """What happens when a client asks for a path, such as `/move`."""

    def repository(self, kind: Kind, name: str, *, gated: bool = False) -> Repository:
        """Add an empty repository."""
        made = self.repositories[kind, name] = Repository(kind, name, gated=gated)
        return made

    def environment(self, home: Path, **variables: str) -> dict[str, str]:
        """Return the environment of a process that uses this hub and keeps its caches in `home`."""
        own = ("HF_", "HUGGING", "TRANSFORMERS_")
        inherited = {name: value for name, value in os.environ.items() if not name.startswith(own)}
        return {
            **inherited,
            "HF_ENDPOINT": self.url,
            "HF_HOME": str(home),
            "HF_HUB_DISABLE_TELEMETRY": "1",
            "HF_HUB_DISABLE_XET": "1",
            **variables,
        }

    def run(self, code: str, home: Path, **variables: str) -> str:
        """Run Python code as a client of this hub, and return what it prints. An error of the code is the test's."""
        done = subprocess.run(
            [sys.executable, "-c", code], env=self.environment(home, **variables), capture_output=True, text=True
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    def reply(self, path: str, body: bytes) -> Reply:
        """Return the response to a request."""
        if path in self.actions:
            self.actions[path]()
            return Reply()
        parts = [unquote(part) for part in urlsplit(path).path.strip("/").split("/")]
        if parts[:1] == ["api"]:
            return self._api(parts[1:], body)
        kind: Kind = "dataset" if parts[0] == "datasets" else "model"
        parts = parts[1:] if kind == "dataset" else parts
        if len(parts) < 5 or parts[2] != "resolve":
            return Reply(404)
        return self._file(kind, "/".join(parts[:2]), revision=parts[3], file="/".join(parts[4:]))

    def _api(self, parts: list[str], body: bytes) -> Reply:
        kind: Kind = "dataset" if parts[0] == "datasets" else "model"
        repository = self.repositories.get((kind, "/".join(parts[1:3])))
        if repository is None:
            return _refused(401, "RepoNotFound")
        verb, rest = (parts[3], parts[4:]) if len(parts) > 3 else ("revision", [])
        if verb == "refs":
            return _json(_refs(repository))
        sha = repository.resolve(rest[0] if rest else "main")
        if sha is None:
            return _refused(404, "RevisionNotFound")
        if verb == "revision":
            files = [{"rfilename": name} for name in repository.commits[sha]]
            return _json({"id": repository.name, "sha": sha, "siblings": files, "tags": [], "gated": repository.gated})
        if verb == "tree":
            return _tree(repository.commits[sha], "/".join(rest[1:]))
        if verb == "paths-info":
            return _json(_entries(repository.commits[sha], _asked_paths(body)))
        return Reply(404)

    def _file(self, kind: Kind, name: str, *, revision: str, file: str) -> Reply:
        repository = self.repositories.get((kind, name))
        if repository is None:
            return _refused(401, "RepoNotFound")
        sha = repository.resolve(revision)
        if sha is None:
            return _refused(404, "RevisionNotFound")
        if repository.gated:
            return _refused(401, "GatedRepo")
        content = repository.commits[sha].get(file)
        commit = {"X-Repo-Commit": sha}
        if content is None:
            return _refused(404, "EntryNotFound", **commit)
        return Reply(200, content, {**commit, "ETag": f'"{_oid(content)}"', "Accept-Ranges": "bytes"})


def _refs(repository: Repository) -> dict[str, Any]:
    def named(names: Mapping[str, str], kind: str) -> list[dict[str, str]]:
        return [{"name": n, "ref": f"refs/{kind}/{n}", "targetCommit": sha} for n, sha in names.items()]

    return {"branches": named(repository.branches, "heads"), "tags": named(repository.tags, "tags"), "converts": []}


def _tree(files: Files, folder: str) -> Reply:
    """Return all files below a folder; a folder that does not exist is an error."""
    found = [name for name in files if not folder or name.startswith(f"{folder}/")]
    return _json(_entries(files, found)) if found else _refused(404, "EntryNotFound")


def _entries(files: Files, names: list[str]) -> list[dict[str, Any]]:
    return [
        {"type": "file", "path": name, "size": len(files[name]), "oid": _oid(files[name])}
        for name in names
        if name in files
    ]


def _asked_paths(body: bytes) -> list[str]:
    paths = json.loads(body)["paths"]
    return [paths] if isinstance(paths, str) else list(paths)


def _oid(content: bytes) -> str:
    return hashlib.sha1(content).hexdigest()


def _json(value: Any) -> Reply:
    return Reply(200, json.dumps(value).encode(), {"Content-Type": "application/json"})


def _refused(status: int, code: str, **headers: str) -> Reply:
    return Reply(status, b"", {"X-Error-Code": code, "X-Error-Message": code, **headers})


class _Handler(BaseHTTPRequestHandler):
    hub: StubHub

    def do_GET(self) -> None:
        """Answer with headers and body."""
        self._answer(body=True)

    def do_POST(self) -> None:
        """Answer like GET, to a request with a body."""
        self._answer(body=True)

    def do_HEAD(self) -> None:
        """Answer with headers only."""
        self._answer(body=False)

    def _answer(self, *, body: bool) -> None:
        sent = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self.hub.requests.append(f"{self.command} {unquote(self.path)}")
        reply = self.hub.reply(self.path, sent)
        self.send_response(reply.status)
        for name, value in reply.headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(reply.body)))
        self.end_headers()
        if body:
            self.wfile.write(reply.body)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 (the name of the base class)
        """Keep quiet."""


@contextmanager
def stub_hub() -> Iterator[StubHub]:
    """A hub that runs until the block ends."""
    hub = StubHub()
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (_Handler,), {"hub": hub}))
    hub.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()
        thread.join(5)
