"""Compute a small fingerprint of a conversation, with which `search` finds near-duplicates. Keeps no text.

The system message, the tools and the ids of calls do not count. A fingerprint is the same in every process and on every
machine.
"""

import hashlib
import json
import re
import unicodedata
import zlib
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import regex

from trainer.types import Message, ToolCallJson

N_CLASSES = 12
N_BANDS = 10
N_BUCKETS = 64
_ROWS_PER_BAND = 4
_CHUNK = 4096  # shingles hashed at once: bounds the memory of a very long conversation

Hashes = npt.NDArray[np.uint64]

# Scripts that write no space between words. Each character is a word here.
_UNSPACED = r"\p{Han}\p{Hiragana}\p{Katakana}ー\p{Thai}\p{Lao}\p{Khmer}\p{Myanmar}"
_LETTER = rf"[[\w\p{{M}}]--[{_UNSPACED}]]"
# What may join letters to one word, as in "can't", "2025-12-13" or "a@b.com". Quotes and brackets never do.
_JOINER = rf"(?:[^\s\w\p{{M}}{_UNSPACED}\"“”„«»‹›{{}}\[\]()<>|,;=*\\，。、！？：；（）「」・]{{1,3}}|(?<=\d),(?=\d))"
_WORD = regex.compile(rf"[{_UNSPACED}]\p{{M}}*|{_LETTER}+(?:{_JOINER}{_LETTER}+)*", regex.V1)
_ASCII_WORD = re.compile(r"\w+(?:[!#$%&'+\-./:?@^`~]{1,3}\w+|,(?<=\d,)\d\w*)*", re.ASCII)  # the same, faster
_UNSPACED_CHARACTER = regex.compile(rf"[{_UNSPACED}]", regex.V1)


class Fingerprint(NamedTuple):
    """About 450 bytes that stand for a conversation. Equal conversations have equal fingerprints.

    `content` is a digest of the conversation without case and extra white space. `class_sums` holds one sum of word
    hashes per class of words: another word in any number of places changes at most two of them. `part_sums` is the same
    by place (message, call or argument) and empty without unspaced characters, because only there one word is several
    characters. `bands` are hashes of MinHash values. `counts` are the numbers of words per bucket, modulo 256.
    """

    content: bytes  # 16 bytes
    n_words: int
    class_sums: bytes  # little-endian uint64 [N_CLASSES]
    part_sums: bytes  # little-endian uint64 [N_CLASSES] or nothing
    bands: bytes  # little-endian uint64 [N_BANDS]
    counts: bytes  # uint8 [N_BUCKETS]


def fingerprint(messages: Sequence[Message]) -> Fingerprint:
    """Return the fingerprint of a canonical conversation (arguments of calls are objects).

    `bands` is MinHash over pairs of neighboring words (Broder 1997, "On the resemblance and containment of documents"),
    in bands of four (Leskovec, Rajaraman, Ullman, "Mining of Massive Datasets", chapter 3).
    """
    parts = _parts(messages)
    words = [word for part in parts for word in part]
    hashes = _word_hashes(words)
    has_unspaced = any(is_unspaced(word) for word in words)
    places = np.repeat(np.arange(len(parts)) % N_CLASSES, [len(part) for part in parts])
    return Fingerprint(
        content=_content(messages),
        n_words=len(words),
        class_sums=_sums(hashes, (hashes >> np.uint64(32)) % np.uint64(N_CLASSES)),
        part_sums=_sums(hashes, places) if has_unspaced else b"",
        bands=_bands(hashes),
        counts=np.bincount((hashes & np.uint64(N_BUCKETS - 1)).astype(np.int64), minlength=N_BUCKETS)
        .astype(np.uint8)
        .tobytes(),
    )


def conversation_words(messages: Sequence[Message]) -> list[str]:
    """Return the words of a conversation in order, in lower case, without the system message.

    Text, reasoning, names of tools, names of arguments and their values count. In scripts that are written without
    spaces (Chinese, Japanese, Thai, ...) every character is a word.

    >>> conversation_words([{"role": "user", "content": "Is 9:30 OK? 好的。"}])
    ['is', '9:30', 'ok', '好', '的']
    """
    return [word for part in _parts(messages) for word in part]


def is_unspaced(word: str) -> bool:
    """Return whether a word is one character of a script that writes no space between words."""
    return not word.isascii() and _UNSPACED_CHARACTER.match(word) is not None


def _parts(messages: Sequence[Message]) -> list[list[str]]:
    """Return the words of each text, each name of a tool and each argument."""
    parts = []
    for message in messages:
        if message["role"] != "system":
            parts.append(_words(message.get("content") or ""))
            parts.append(_words(message.get("reasoning_content") or ""))
            for call in message.get("tool_calls") or ():
                parts.append(_words(call["function"]["name"]))
                arguments = call["function"]["arguments"]
                items = arguments.items() if isinstance(arguments, dict) else [("", arguments)]
                parts.extend([*_words(name), *_value_words(value)] for name, value in sorted(items))
    return parts


def _words(text: str) -> list[str]:
    if text.isascii():
        return _ASCII_WORD.findall(text.lower())
    found: list[str] = _WORD.findall(unicodedata.normalize("NFC", text).casefold())
    return found


def _value_words(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield from _words(value)
    elif isinstance(value, dict):
        for name, item in sorted(value.items()):
            yield from _words(name)
            yield from _value_words(item)
    elif isinstance(value, list):
        for item in value:
            yield from _value_words(item)
    else:
        yield json.dumps(value)


def _content(messages: Sequence[Message]) -> bytes:
    lines = [
        [
            message["role"],
            _normal(message.get("content") or ""),
            _normal(message.get("reasoning_content") or ""),
            [_normal_call(call) for call in message.get("tool_calls") or ()],
        ]
        for message in messages
        if message["role"] != "system"
    ]
    text = json.dumps(lines, sort_keys=True)
    return hashlib.blake2b(text.encode(), digest_size=16).digest()


def _normal_call(call: ToolCallJson) -> list[Any]:
    return [_normal(call["function"]["name"]), _normal(call["function"]["arguments"])]


def _normal(value: Any) -> Any:
    """Return a JSON value whose texts are in lower case, with single spaces."""
    if isinstance(value, str):
        text = value if value.isascii() else unicodedata.normalize("NFC", value)
        return " ".join(text.casefold().split())
    if isinstance(value, dict):
        return {_normal(name): _normal(item) for name, item in value.items()}
    if isinstance(value, list):
        return [_normal(item) for item in value]
    return value


def _word_hashes(words: Sequence[str]) -> Hashes:
    return mix(np.array([zlib.crc32(word.encode("utf-8", "surrogatepass")) for word in words], dtype=np.uint64))


def mix(values: Hashes) -> Hashes:
    """Spread the bits of each value over 64 bits (SplitMix64; Steele, Lea and Flood 2014)."""
    values = values + np.uint64(0x9E3779B97F4A7C15)
    values = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    values = (values ^ (values >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return values ^ (values >> np.uint64(31))


def _sums(hashes: Hashes, classes: npt.NDArray[Any]) -> bytes:
    members = classes == np.arange(N_CLASSES, dtype=classes.dtype)[:, None]
    return bytes((members * hashes).sum(axis=1, dtype=np.uint64).astype("<u8").tobytes())


_FACTORS = mix(np.arange(N_BANDS * _ROWS_PER_BAND, dtype=np.uint64))[:, None] | np.uint64(1)
_POSITIONS = mix(np.arange(1000, 1000 + _ROWS_PER_BAND, dtype=np.uint64)) | np.uint64(1)


def _bands(hashes: Hashes) -> bytes:
    shingles = mix(hashes[:-1] * np.uint64(3) + hashes[1:]) if len(hashes) > 1 else hashes
    smallest = np.full(len(_FACTORS), np.iinfo(np.uint64).max, dtype=np.uint64)
    for start in range(0, len(shingles), _CHUNK):
        values = shingles[start : start + _CHUNK] * _FACTORS
        smallest = np.minimum(smallest, (values ^ (values >> np.uint64(32))).min(axis=1))
    bands = (mix(smallest).reshape(N_BANDS, _ROWS_PER_BAND) * _POSITIONS).sum(axis=1, dtype=np.uint64)
    return bytes(bands.astype("<u8").tobytes())
