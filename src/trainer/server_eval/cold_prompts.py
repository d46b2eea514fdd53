"""Make prompts cold: no two requests share a prefix that a server could have cached. Sends nothing.

vLLM takes a `cache_salt` in the request, which keeps caches apart and leaves the prompt as it is. For servers without
it, the salt is written at the beginning of the first message.
"""

import uuid
from collections.abc import Mapping, Sequence
from typing import Any, Literal

from trainer.endpoint import Dialect
from trainer.server_eval.load import LevelResult

Salt = Literal["field", "text"]
"""Where the salt of a request is: in the field `cache_salt`, or in the text of the first message."""

COLD_SHARE = 0.1
"""A prompt is cold up to this share of cached tokens. A few tokens at the beginning are the same in every prompt."""


def salted(bodies: Sequence[Mapping[str, Any]], salt: Salt) -> list[dict[str, Any]]:
    """Return the requests, each with a salt of its own that no other request ever had."""
    return [_salted(body, salt, uuid.uuid4().hex) for body in bodies]


def ignores_salt(again: LevelResult, dialect: Dialect) -> bool:
    """Whether a server refuses or ignores `cache_salt`: a prompt sent again with another salt came from the cache.

    A server that reports no cached tokens is not known to ignore it.
    """
    return "cache_salt" in dialect.dropped or (again.cached_share or 0.0) > COLD_SHARE


def cold_note(level: LevelResult) -> str | None:
    """Return what is doubtful about the cold prompts of a level; None if the server reports that they were cold."""
    share, where = level.cached_share, f"concurrency {level.concurrency}"
    if share is None:
        return (
            f"{where}: the server does not report cached tokens, so nothing confirms which prompts were cold; vLLM "
            "reports them with --enable-prompt-tokens-details"
        )
    if share > COLD_SHARE:
        return f"{where}: the server had {share:.0%} of the cold prompts in its cache, so their times are too low"
    return None


def _salted(body: Mapping[str, Any], salt: Salt, value: str) -> dict[str, Any]:
    if salt == "field":
        return {**body, "cache_salt": value}
    first, *others = body["messages"]
    return {**body, "messages": [{**first, "content": f"[{value}]\n{first.get('content') or ''}"}, *others]}
