"""Keep tokens, keys and passwords out of everything that is written or shown. Guesses at nothing in free text.

A secret is known by where it comes from: a key of the configuration, an environment variable, an address, an option.
`hide` then replaces it wherever it appears, also as JSON, HTML or a URL would write it.
"""

import base64
import html
import json
import os
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cache
from typing import Any
from urllib.parse import quote, quote_plus, unquote, unquote_plus, urlsplit

HIDDEN = "***"

_SHORTEST = 6
"""Shorter values, such as the key EMPTY that many local servers take, are also ordinary words."""

_SHORTEST_IN_ENVIRONMENT = 8
_VARIABLE = re.compile(r"(^|_)(TOKEN|KEY|SECRET|PASSWORD)$", re.I)
_NAME = re.compile(r"(^|[_\-.])(token|key|apikey|secret|password|passwd|passphrase|credentials?)$", re.I)
_SPECIAL_TOKEN = re.compile(r"(^|[_\-.])(bos|eos|pad|unk|sep|cls|mask|stop|image|audio|video)_token$", re.I)
_CAMEL = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")
_BEARER = re.compile(r"\b(Bearer|Basic)(\s+)[^\s\"'<>,;\\]+")

_known: set[str] = set()
_addresses: set[str] = set()  # those in the environment that were read


def is_secret_name(name: object) -> bool:
    """Whether a key, an option or a query parameter has a secret as its value, judging by its name.

    >>> [is_secret_name(name) for name in ("hub_token", "apiKey", "seed", "pad_token", "num_input_tokens")]
    [True, True, False, False, False]
    """
    text = _CAMEL.sub("_", str(name))
    return _NAME.search(text) is not None and _SPECIAL_TOKEN.search(text) is None


def remember(*secrets: str | None) -> None:
    """Hide these values from now on. Those of fewer than six characters are left out."""
    _known.update(secret for secret in secrets if secret and len(secret) >= _SHORTEST)


def remember_in(value: Any) -> None:
    """Remember the secrets in nested mappings and lists, and in JSON text and addresses among their values."""
    for secret in _secrets_of(value):
        remember(secret)


def remember_address(address: str) -> None:
    """Remember user, password and the values of the query in a URL."""
    try:
        parts = urlsplit(address.strip())
        user, password = parts.username, parts.password
    except ValueError:  # not an address; whoever uses it reports that
        return
    values = [part.partition("=")[2] for part in parts.query.split("&")]
    longer = [value for value in values if len(value) >= _SHORTEST_IN_ENVIRONMENT]
    for secret in (password, *([user] if user and not password else []), *longer):
        if secret:
            remember(secret, unquote(secret), unquote_plus(secret))
    if user and password:
        pair = f"{unquote(user)}:{unquote(password)}".encode()
        remember(base64.b64encode(pair).decode())


def remember_words(words: Sequence[str]) -> None:
    """Remember the secrets in a command line: `--api-key X`, `--set train.hub_token=X`, and addresses."""
    for word, following in zip(words, (*words[1:], "")[: len(words)], strict=True):
        name, _, value = word.partition("=")
        if is_secret_name(name):
            remember(value or (following if name.startswith("-") and not following.startswith("-") else ""))
        remember_in([word, value])


def without_secrets(value: Any) -> Any:
    """Return nested mappings and lists without the keys that have a secret."""
    if isinstance(value, Mapping):
        return {key: without_secrets(item) for key, item in value.items() if not is_secret_name(key)}
    if isinstance(value, list | tuple):
        return [without_secrets(item) for item in value]
    return value


def hide(text: str) -> str:
    """Return the text with every known secret replaced by `***`.

    >>> remember("correct horse")
    >>> hide('{"error": "correct horse is not allowed, correct%20horse neither"}')
    '{"error": "*** is not allowed, *** neither"}'
    """
    return hider()(text)


def hider() -> Callable[[str], str]:
    """Return `hide` for the secrets known now, which is faster for many texts."""
    pattern = _pattern(frozenset(_in_environment()) | _known)
    return (lambda text: text) if pattern is None else (lambda text: pattern.sub(HIDDEN, text))


def hide_headers(text: str) -> str:
    """Return a server's message as `hide` does, and without the credentials of an Authorization header in it."""
    return hide(_BEARER.sub(rf"\1\2{HIDDEN}", text))


def holds_secret(content: bytes) -> bool:
    """Whether the bytes of a file have a known secret."""
    text = content.decode("utf-8", "replace")
    return hide(text) != text


class HidingStream:
    """A text stream that hides secrets in each piece of text written to it; everything else is the stream's own."""

    def __init__(self, stream: Any, hiding: Callable[[str], str] = hide) -> None:
        self._stream, self._hide = stream, hiding

    def write(self, text: str) -> int:
        """Write the text with secrets replaced. Returns the length of what the caller gave."""
        self._stream.write(self._hide(text))
        return len(text)

    def writelines(self, lines: Sequence[str]) -> None:
        """Write each line with secrets replaced."""
        for line in lines:
            self.write(line)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


def _secrets_of(value: Any, *, named: bool = False) -> Iterator[str]:
    if isinstance(value, Mapping):
        for key, item in value.items():
            yield from _secrets_of(item, named=named or is_secret_name(key))
    elif isinstance(value, list | tuple):
        for item in value:
            yield from _secrets_of(item, named=named)
    elif named and isinstance(value, str | int | float) and not isinstance(value, bool):
        yield str(value)
    elif isinstance(value, str) and value.lstrip().startswith(("{", "[")):
        try:
            yield from _secrets_of(json.loads(value))
        except (ValueError, RecursionError):
            return
    elif isinstance(value, str) and "://" in value:
        remember_address(value)


def _in_environment() -> Iterator[str]:
    for name, value in os.environ.items():
        if _VARIABLE.search(name) and len(value) >= _SHORTEST_IN_ENVIRONMENT:
            yield value
        elif "://" in value and "@" in value and value not in _addresses:
            _addresses.add(value)
            remember_address(value)


@cache
def _pattern(secrets: frozenset[str]) -> re.Pattern[str] | None:
    forms = {form for secret in secrets for form in _forms(secret)}
    if not forms:
        return None
    return re.compile("|".join(re.escape(form) for form in sorted(forms, key=lambda form: (-len(form), form))))


def _forms(secret: str) -> Iterator[str]:
    """The ways in which files and messages write a secret."""
    yield secret
    escaped = [json.dumps(secret)[1:-1], json.dumps(secret, ensure_ascii=False)[1:-1], repr(secret)[1:-1]]
    yield from escaped
    for text in escaped:  # JSON in a string of JSON, such as the arguments of a call
        yield json.dumps(text)[1:-1]
        yield json.dumps(text, ensure_ascii=False)[1:-1]
    yield secret.replace("'", "''")  # in a quoted word of YAML
    yield html.escape(secret)
    yield html.escape(secret, quote=False)
    for written in (quote(secret, safe=""), quote(secret), quote_plus(secret)):
        yield written
        yield re.sub(r"%[0-9A-F]{2}", lambda match: match[0].lower(), written)
