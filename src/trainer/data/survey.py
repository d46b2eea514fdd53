"""Read every session of a split once: their ids, and the key under which their rows of tokens are cached."""

import hashlib
import inspect
import json
from collections import Counter
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from importlib.resources import files
from importlib.resources.abc import Traversable
from typing import Any, NamedTuple

import datasets

from trainer.data.chat_setup import ChatSetup
from trainer.data.sessions import RowReader
from trainer.errors import ToolSftError
from trainer.util.progress import progress_bar

_SHAPING_CODE = (
    "data/build.py", "data/chat_setup.py", "data/layout_reader.py", "data/row_files.py", "data/rows.py",
    "data/sessions.py", "data/sources.py", "layouts", "chat", "tool_calls", "tools", "tokenizer.py", "util/ordering.py",
    "util/clock.py", "types.py",
)  # fmt: skip
_SHAPING_PACKAGES = ("transformers", "tokenizers", "jinja2")
_MANY = 2_000  # this many sessions or more take seconds to read


class Survey(NamedTuple):
    """The session ids of a split, by row, and a digest of every session's messages and tools."""

    ids: tuple[str, ...]
    digest: str


def survey_sessions(raw: datasets.Dataset, reader: RowReader, *, name: str) -> Survey:
    """Read every session, in order. The order of keys counts, because a model sees it.

    A row that cannot be read counts by its own id and its error.

    Rows without ids get the ids that `reader` makes of their content; equal rows are numbered.
    """
    digest = hashlib.sha256()
    seen: Counter[str] = Counter()
    ids = []
    with progress_bar(f"Reading {name}", total=len(raw), unit="sessions", show=len(raw) >= _MANY) as advance:
        for row in raw:
            try:
                session = reader.read(row)
                session_id, content = session.session_id, json.dumps([session.messages, session.tools], default=repr)
            except ToolSftError as error:
                session_id, content = str(reader.row_id(row)), str(error)
            seen[session_id] += 1
            if reader.makes_ids and seen[session_id] > 1:
                session_id = f"{session_id}-{seen[session_id]}"
            ids.append(session_id)
            digest.update(f"{session_id}\0{content}\0".encode("utf-8", "surrogatepass"))
            advance(1)
    return Survey(tuple(ids), digest.hexdigest())


def cache_key(survey: Survey, chat: ChatSetup, *, name: str) -> str:
    """Return the cache key of a split's rows of tokens: 32 hexadecimal digits.

    It covers the messages and tools of every session as they were read, so everything that a domain reads counts,
    no matter where it is; the tokenizer, the chat template and its arguments; the tool-call format; and the code
    that turns messages into rows. `name` is the split's name, which the errors of rows contain. A change of anything
    else keeps the cached rows.
    """
    digest = hashlib.sha256()
    for part in (name, _chat_digest(chat), _code_digest(), survey.digest):
        digest.update(f"{part}\0".encode())
    return digest.hexdigest()[:32]


def _chat_digest(chat: ChatSetup) -> str:
    """Return a digest of the tokenizer, the chat template and its arguments, and the tool-call format."""
    tokenizer: Any = chat.tokenizer
    vocabulary = tokenizer.backend_tokenizer.to_str() if tokenizer.is_fast else sorted(tokenizer.get_vocab().items())
    parts = [
        tokenizer.chat_template,
        vocabulary,
        tokenizer.special_tokens_map,
        dict(chat.encoder.template_kwargs),
        [chat.fmt.name, _source(chat.fmt.scan), _source(chat.fmt.write)],
    ]
    return hashlib.sha256(json.dumps(parts, sort_keys=True, default=str).encode()).hexdigest()


def _source(function: Any) -> str:
    """The source of a format's function, which may be a user's own; its name if there is no source."""
    try:
        return inspect.getsource(function)
    except (OSError, TypeError):
        return repr(function).partition(" at 0x")[0]


@cache
def _code_digest() -> str:
    """Return a digest of the code that shapes a row and of the versions of the libraries that render and tokenize."""
    digest = hashlib.sha256()
    for place in _SHAPING_CODE:
        for source in _sources(files("trainer").joinpath(place)):
            digest.update(source + b"\0")
    for package in _SHAPING_PACKAGES:
        digest.update(f"{package} {_version(package)}\0".encode())
    return digest.hexdigest()


def _sources(place: Traversable) -> list[bytes]:
    if place.is_file():
        return [place.read_bytes()] if place.name.endswith(".py") else []
    return [source for item in sorted(place.iterdir(), key=lambda item: item.name) for source in _sources(item)]


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None
