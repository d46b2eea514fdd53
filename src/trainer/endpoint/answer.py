"""Read a chat completion: its text, the calls that the server parsed, and how it ended. Checks every value."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from trainer.types import CallStatus, FinishReason, ParsedCall
from trainer.util.secrets import hide, hide_headers
from trainer.values.json_reader import read_json, skip_space

_ENDINGS: Mapping[str, FinishReason] = {"stop": "stop", "tool_calls": "stop", "length": "length"}
_N_SHOWN = 120


@dataclass(frozen=True, slots=True)
class Answer:
    """The server's answer for one turn, or the `error` why there is no usable one.

    `content` is the text of the message. `tool_calls` are the server's JSON values, unchecked; `parse_calls` reads
    them. `prompt_tokens` and `completion_tokens` are None if the server does not report them. `latency_s` is the
    time of the last attempt.
    """

    content: str = ""
    tool_calls: Any = None
    finish_reason: FinishReason = "error"
    error: str | None = None
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    latency_s: float | None = None


class _Unusable(Exception):
    """The reason why a response is not a chat completion."""


def read_answer(body: bytes, *, latency_s: float | None = None, max_tokens: int | None = None) -> Answer:
    """Return the answer in the body of a successful response. If it is not usable, its `error` says why.

    vLLM reports the finish reason `tool_calls` even if `max_tokens`, the limit of the request, cut the answer. So
    an answer with that many tokens counts as cut.
    """
    try:
        return _read(_json(body), latency_s, max_tokens)
    except _Unusable as problem:
        return Answer(error=str(problem), latency_s=latency_s)


def token_limit(body: Mapping[str, Any]) -> int | None:
    """Return the token limit that a request sets for the answer, or None if it sets none."""
    limit = body.get("max_completion_tokens") or body.get("max_tokens")
    return limit if isinstance(limit, int) else None


def parse_calls(tool_calls: Any, *, finish_reason: FinishReason) -> tuple[str, tuple[ParsedCall, ...]]:
    """Return the calls of a message's `tool_calls`, well formed or not, and the text that their spans refer to.

    The text has one line of JSON per call, as the server sent it. Every entry is one attempted call. Its status is
    what an application that decodes the arguments would find.
    """
    if not tool_calls:
        return "", ()
    entries = tool_calls if isinstance(tool_calls, list) else [tool_calls]
    lines = [json.dumps(entry, ensure_ascii=False) for entry in entries]
    calls, start = [], 0
    for position, (entry, line) in enumerate(zip(entries, lines, strict=True)):
        is_cut = finish_reason == "length" and position == len(entries) - 1
        status, name, arguments = _judge(entry, is_cut=is_cut)
        calls.append(ParsedCall(status, line, start, start + len(line), name, arguments))
        start += len(line) + 1
    return "\n".join(lines), tuple(calls)


def printable(text: str) -> str:
    """Return the text with lone surrogates replaced. JSON can express them, but no file can store them."""
    return text.encode("utf-8", "replace").decode()


def _judge(entry: Any, *, is_cut: bool) -> tuple[CallStatus, str | None, dict[str, Any] | None]:
    function = entry.get("function") if isinstance(entry, Mapping) else None
    if not isinstance(function, Mapping):
        return "invalid_json", None, None
    name, text = function.get("name"), function.get("arguments")
    is_named = isinstance(name, str) and bool(name)
    if not isinstance(text, str):  # the protocol requires JSON text, and an application can decode nothing else
        return ("bad_arguments", name, None) if is_named else ("missing_name", None, None)
    read = read_json(text, 0)
    is_whole = read.failure is None and skip_space(text, read.end) == len(text)
    if not is_named:  # the text of an attempt whose name cannot be read, or is cut
        return ("truncated" if is_cut and not is_whole else "missing_name"), None, None
    if not is_whole:
        return ("truncated" if is_cut else "invalid_json"), name, None
    if not isinstance(read.value, dict):
        return "bad_arguments", name, None
    return "ok", name, read.value


def _json(body: bytes) -> Any:
    try:
        return json.loads(body)
    except (ValueError, RecursionError):
        text = hide_headers(body.decode("utf-8", "replace").lstrip())
        what = "HTML" if text[:1] == "<" else "invalid JSON"
        raise _Unusable(f"the server sent {what}: {text[:_N_SHOWN]!r}") from None


def _read(value: Any, latency_s: float | None, max_tokens: int | None) -> Answer:
    choices = value.get("choices") if isinstance(value, Mapping) else None
    if not isinstance(choices, list) or not choices or not isinstance(choices[0], Mapping):
        raise _Unusable(f"the response has no choices: {_shown(value)}")
    message, ending = choices[0].get("message"), choices[0].get("finish_reason")
    if not isinstance(message, Mapping):
        raise _Unusable(f"the response has no message: {_shown(choices[0])}")
    if not isinstance(ending, str) or ending not in _ENDINGS:
        raise _Unusable(f"finish_reason is {hide(repr(ending)):.80}; known: {', '.join(_ENDINGS)}")
    tool_calls = message.get("tool_calls")
    if ending == "tool_calls" and not tool_calls:
        raise _Unusable("finish_reason is 'tool_calls', but the message has no tool calls")
    usage = value.get("usage")
    n_tokens = _count(usage, "completion_tokens")
    is_cut = ending == "tool_calls" and None not in (n_tokens, max_tokens) and (n_tokens or 0) >= (max_tokens or 0)
    return Answer(
        content=_text(message.get("content")),
        tool_calls=tool_calls or None,
        finish_reason="length" if is_cut else _ENDINGS[ending],
        prompt_tokens=_count(usage, "prompt_tokens"),
        completion_tokens=n_tokens,
        latency_s=latency_s,
    )


def _text(content: Any) -> str:
    if content is None:
        return ""
    if isinstance(content, str):
        return content
    if isinstance(content, Sequence):
        texts = [part.get("text") if isinstance(part, Mapping) else None for part in content]
        if all(isinstance(text, str) for text in texts):
            return "".join(map(str, texts))
    raise _Unusable(f"the message's content is not text: {_shown(content)}")


def _count(usage: Any, key: Literal["prompt_tokens", "completion_tokens"]) -> int | None:
    count = usage.get(key) if isinstance(usage, Mapping) else None
    return count if isinstance(count, int) and not isinstance(count, bool) else None


def _shown(value: Any) -> str:
    text = hide_headers(printable(json.dumps(value, ensure_ascii=False)))
    return text if len(text) <= _N_SHOWN else f"{text[:_N_SHOWN]}…"
