"""Compute the key of cached rows of tokens from everything they depend on. No other change makes them out of date."""

import hashlib
import json
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from importlib.resources import files
from importlib.resources.abc import Traversable
from typing import Any

import datasets

from trainer.data.chat_setup import ChatSetup
from trainer.data.sessions import SessionReader
from trainer.errors import ToolSftError
from trainer.util.progress import progress_bar

_SHAPING_CODE = ("data", "chat", "tool_calls", "tools", "tokenizer.py", "util/ordering.py", "types.py")
_SHAPING_PACKAGES = ("transformers", "tokenizers", "jinja2")
_MANY = 2_000  # reading this many sessions takes seconds


def cache_key(raw: datasets.Dataset, reader: SessionReader, chat: ChatSetup, *, name: str) -> str:
    """Return the key of a split's rows of tokens: 32 hexadecimal digits.

    It covers the messages and tools of every session as the domain returned them, and so everything that
    the domain reads for them. It also covers the tokenizer, the chat template and its arguments, the tool-call format,
    and the code that turns messages into rows. `name` is the split's name, which appears in the errors of rows.
    """
    digest = hashlib.sha256()
    for part in (name, _chat_digest(chat), _code_digest(), _sessions_digest(raw, reader, name=name)):
        digest.update(f"{part}\0".encode())
    return digest.hexdigest()[:32]


def _sessions_digest(raw: datasets.Dataset, reader: SessionReader, *, name: str) -> str:
    """Return a digest of every session, in order. A row that cannot be read adds its error instead."""
    digest = hashlib.sha256()
    with progress_bar(f"Reading {name}", total=len(raw), unit="sessions", show=len(raw) >= _MANY) as advance:
        for row in raw:
            try:
                session: Any = reader.read(row)
                content = [session.session_id, session.messages, session.tools]
            except ToolSftError as error:
                content = [str(row[reader.id_column]), str(error)]
            digest.update(json.dumps(content, sort_keys=True, default=repr).encode())
            advance(1)
    return digest.hexdigest()


def _chat_digest(chat: ChatSetup) -> str:
    """Return a digest of the tokenizer, the chat template and its arguments, and the tool-call format."""
    tokenizer: Any = chat.tokenizer
    vocabulary = tokenizer.backend_tokenizer.to_str() if tokenizer.is_fast else sorted(tokenizer.get_vocab().items())
    parts = [
        tokenizer.chat_template,
        vocabulary,
        tokenizer.special_tokens_map,
        dict(chat.encoder.template_kwargs),
        chat.fmt.name,
    ]
    return hashlib.sha256(json.dumps(parts, sort_keys=True, default=str).encode()).hexdigest()


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
