"""Read every session of some rows once: ids, problems, counts, and the key under which rows of tokens are cached."""

import hashlib
import inspect
import json
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from importlib.resources import files
from importlib.resources.abc import Traversable
from typing import Any

from trainer.data.chat_setup import ChatSetup
from trainer.data.findings import Finding
from trainer.data.opening import Part
from trainer.data.row_files import place_of
from trainer.errors import ToolSftError
from trainer.leaks import Fingerprint, fingerprint
from trainer.messages import is_trained
from trainer.types import Session
from trainer.util.progress import progress_bar

_SHAPING_CODE = (
    "data/prepare.py", "data/chat_setup.py", "data/layout_reader.py", "data/row_files.py", "data/rows.py",
    "data/sessions.py", "data/sources.py", "values", "messages", "layouts", "chat", "tool_calls", "tools",
    "tokenizer.py", "util/ordering.py", "util/clock.py", "types.py",
)  # fmt: skip
_SHAPING_PACKAGES = ("transformers", "tokenizers", "jinja2")
_MANY = 2_000  # this many sessions or more take seconds to read


@dataclass
class SessionCounts:
    """Counts over sessions: trained turns with and without calls, and with reasoning, calls by tool, sessions that
    offer a tool, and what was converted."""

    n_call_turns: int = 0
    n_no_call_turns: int = 0
    n_reasoning_turns: int = 0
    calls: Counter[str] = field(default_factory=Counter)
    offered: Counter[str] = field(default_factory=Counter)
    converted: Counter[str] = field(default_factory=Counter)

    def add(self, session: Session, converted: Iterable[str]) -> None:
        """Count one more session."""
        for message in filter(is_trained, session.messages):
            names = [call["function"]["name"] for call in message.get("tool_calls") or ()]
            self.calls.update(names)
            self.n_call_turns += bool(names)
            self.n_no_call_turns += not names
            self.n_reasoning_turns += bool(message.get("reasoning_content"))
        self.offered.update(tool["function"]["name"] for tool in session.tools)
        self.converted.update(converted)

    def merge(self, other: "SessionCounts") -> None:
        """Add the counts of other sessions."""
        self.n_call_turns += other.n_call_turns
        self.n_no_call_turns += other.n_no_call_turns
        self.n_reasoning_turns += other.n_reasoning_turns
        for mine, theirs in (
            (self.calls, other.calls),
            (self.offered, other.offered),
            (self.converted, other.converted),
        ):
            mine.update(theirs)


@dataclass(frozen=True)
class Survey:
    """What reading every session of some rows has shown.

    `ids` are the session ids, by row. `digest` covers every session's messages and tools. `errors` are the rows that
    cannot be read or that repeat an id, by position. `fingerprints` recognize the content of sessions; None for rows
    that cannot be read, empty if they were not asked for.
    """

    ids: tuple[str, ...]
    digest: str
    errors: Mapping[int, Finding]
    fingerprints: tuple[Fingerprint | None, ...]
    counts: SessionCounts


def survey_sessions(part: Part, *, split: str, fingerprints: bool = False) -> Survey:
    """Read every session, in order, and keep what is wrong with it. The order of keys counts, because a model sees it.

    A row that cannot be read counts by its own id and its error. Rows without ids get the ids that the reader makes of
    their content; equal rows are numbered.
    """
    digest = hashlib.sha256()
    seen: Counter[str] = Counter()
    firsts: dict[str, int] = {}
    ids, prints = [], []
    errors: dict[int, Finding] = {}
    counts = SessionCounts()
    with progress_bar(f"Reading {split}", total=len(part.rows), unit="sessions", show=len(part.rows) >= _MANY) as step:
        for index, row in enumerate(part.rows):
            error: ToolSftError | None = None
            has_id = True
            session: Session | None = None
            try:
                session, converted = part.reader.read(row)
                name, content = session.session_id, _content(session)
                counts.add(session, converted)
            except ToolSftError as caught:
                own_id = part.reader.row_id(row)
                error, name, content = caught, _storable(own_id), _storable(caught)
                has_id = isinstance(own_id, str) and own_id != ""
            first = firsts.setdefault(name, index)
            seen[name] += 1
            session_id = part.full_id(f"{name}-{seen[name]}" if part.reader.makes_ids and seen[name] > 1 else name)
            if error is not None:
                shown = session_id if has_id else None
                errors[index] = Finding("error", "unreadable_row", split, content, place_of(row), shown)
            elif first != index and not part.reader.makes_ids:
                where = place_of(part.rows[first])
                message = f"the row repeats the session id of {where}; give every session its own id"
                errors[index] = Finding("error", "repeated_id", split, message, place_of(row), session_id)
            ids.append(session_id)
            if fingerprints:
                prints.append(None if session is None else fingerprint(session.messages))
            digest.update(f"{session_id}\0{content}\0".encode("utf-8", "surrogatepass"))
            step(1)
    return Survey(tuple(ids), digest.hexdigest(), errors, tuple(prints), counts)


def _content(session: Session) -> str:
    """Return everything of a session that may reach a prompt, as text."""
    return json.dumps([session.messages, session.tools, session.day], default=repr)


def _storable(value: object) -> str:
    """Return the text of a value; half a surrogate pair, which no file can store, becomes an escape."""
    return str(value).encode("utf-8", "backslashreplace").decode()


def cache_key(survey: Survey, chat: ChatSetup, *, split: str) -> str:
    """Return the cache key of a split's rows of tokens: 32 hexadecimal digits.

    It covers the messages, tools and day of every session as they were read, so everything that a domain reads counts,
    no matter where it is; the tokenizer, the chat template, its arguments and the end-of-sequence tokens; the
    tool-call format; and the code that turns messages into rows. `split` is the split's name. A change of anything else
    keeps the cached rows.
    """
    digest = hashlib.sha256()
    for part in (split, _chat_digest(chat), _code_digest(), survey.digest):
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
        chat.encoder.eos_tokens,
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
