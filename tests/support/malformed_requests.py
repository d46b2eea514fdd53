"""Requests that a chat-completion server must refuse, made systematically, each with the status that it must get."""

import json
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from tests.support.raw_http import post

TOOL = {"type": "function", "function": {"name": "f", "description": "F.", "parameters": {"type": "object"}}}
USER = {"role": "user", "content": "Hello"}
CALL = {"id": "c1", "type": "function", "function": {"name": "f", "arguments": "{}"}}
CHAT: Mapping[str, Any] = {"messages": [USER], "tools": [TOOL], "max_tokens": 8, "temperature": 0}


class Malformed(NamedTuple):
    """One request. `status` is what the server must answer."""

    name: str
    request: bytes
    status: int = 400


def malformed_requests() -> list[Malformed]:
    """Return those with a malformed body."""
    parts = (_bodies, _types, _values, _unsupported, _messages, _tools, _variables)
    return [case for part in parts for case in part()]


def _chat(name: str, **changes: Any) -> Malformed:
    return Malformed(name, post({**CHAT, **changes}))


def _bodies() -> Iterator[Malformed]:
    good = json.dumps(CHAT)
    deep = [("[" * n, "]" * n) for n in (65, 1000, 100_000)] + [('{"a":' * n, "}" * n) for n in (65, 1000, 100_000)]
    texts = ["", " ", "{", "[]", "null", "1", '"x"', "true", "nul", "{]", good[:-1], f"{good},", f"{good}{good}"]
    texts += [good.replace('"', "'"), f"//\n{good}", f"\ufeff{good}", '{"messages": [{}', '{"messages" [}', "{1: 2}"]
    texts += [f"{good[:-1]},}}", f'{good[:-1]}, "x": {{"a": 1, "a": 2}}}}', f'{good[:-1]}, "messages": []}}']
    texts += [f'{good[:-1]}, "x": {number}}}' for number in ("NaN", "Infinity", "-Infinity", "1e999", "-1e999", "01")]
    texts += [f'{good[:-1]}, "x": {number}}}' for number in ("9" * 5000, "+1", "1.", ".5", "0x1", "1_000")]
    texts += [f'{good[:-1]}, "x": "{text}"}}' for text in ("\x00", "\n", "\\x", "\\u12", "\\ud800", "\\udc00\\ud800")]
    texts += [good.replace("Hello", text) for text in ("\\ud83d", "\\udead!", "\t")]
    texts += [f'{good[:-1]}, "\\ud800": 1}}', f'{good[:-1]}, "x": {{"\\udfff": [1]}}}}']
    texts += [f'{good[:-1]}, "x": {opened}1{closed}}}' for opened, closed in deep]
    texts += [f'{{"messages": {opened}{closed}}}' for opened, closed in deep] + [f'{{"messages": {deep[2][0]}']
    for position, text in enumerate(texts):
        yield Malformed(f"body {position}", post(text.encode()))
    broken = [b"\xff", b"\xc3", b"\xc0\xaf", b"\xed\xa0\x80", b"\xf4\x90\x80\x80", b"\x80", "é".encode("latin-1")]
    for data in broken:
        yield Malformed(f"not UTF-8: {data!r}", post(good.encode().replace(b"Hello", data)))
    for encoding in ("utf-16", "utf-16-le", "utf-32", "utf-7"):
        yield Malformed(encoding, post(good.replace("Hello", "Zürich").encode(encoding).replace(b"{", b"+", 1)))


_ALL: Mapping[str, Any] = {
    "true": True, "an integer": 3, "a fraction": 1.5, "text": "x", "digits": "3", "an empty list": [], "a list": [3],
    "an empty object": {}, "an object": {"x": 3},
}  # fmt: skip
_ACCEPTED: Mapping[str, tuple[str, ...]] = {
    "model": (),
    "messages": (),
    "tools": ("an empty list",),
    "tool_choice": (),
    "parallel_tool_calls": ("true",),
    "temperature": ("a fraction",),
    "top_p": (),
    "stop": ("text", "digits", "an empty list"),
    "max_tokens": ("an integer",),
    "max_completion_tokens": ("an integer",),
    "seed": ("an integer",),
    "stream": ("true",),
    "stream_options": ("an empty object", "an object"),
    "return_token_ids": ("true",),
    "add_generation_prompt": ("true",),
    "chat_template_kwargs": ("an empty object",),
}


def _types() -> Iterator[Malformed]:
    for key, accepted in _ACCEPTED.items():
        for name, value in _ALL.items():
            if name not in accepted:
                status = 404 if key == "model" and isinstance(value, str) else 400
                yield Malformed(f"{key} is {name}", post({**CHAT, key: value}), status)
    yield Malformed("no messages", post({"max_tokens": 3}))
    yield _chat("messages are null", messages=None)
    yield _chat("add_generation_prompt is false", add_generation_prompt=False)
    for name, value in _ALL.items():
        if name != "true":
            yield _chat(f"include_usage is {name}", stream=True, stream_options={"include_usage": value})


def _values() -> Iterator[Malformed]:
    for key in ("max_tokens", "max_completion_tokens"):
        for number in (0, -1, 401, 2**31, 2**63, 2**64, 10**30, 10**4000, 8.0):
            yield _chat(f"{key} {number:.5g}" if number < 2**64 else f"{key} huge", **{key: number})
    for number in (-0.1, 2.1, -(10**400), 10**400, 1e308):
        yield _chat("temperature out of range", temperature=number)
        yield _chat("top_p out of range", top_p=number)
    for seed in (2**63, -(2**63), 10**4000):
        yield _chat("seed out of range", seed=seed)
    for stop in ("", [""], ["a", ""], list("abcde"), ["a", 1], [None], [["a"]], "x" * 10_000):
        yield _chat(f"stop {stop!r:.20}", stop=stop)
    for choice in ("required", "any", "AUTO", "", {"type": "function", "function": {"name": "f"}}, {"type": "auto"}):
        yield _chat(f"tool_choice {choice}", tool_choice=choice)
    yield _chat("a prompt that is too long", messages=[{"role": "user", "content": "word " * 2000}])
    yield _chat("a million messages", messages=[1] * 10**6)
    yield _chat("a million tools", tools=[1] * 10**6)


def _unsupported() -> Iterator[Malformed]:
    changed: Mapping[str, Any] = {
        "logprobs": True, "top_logprobs": 2, "response_format": {"type": "json_object"}, "logit_bias": {"5": 101},
        "repetition_penalty": 1.1, "frequency_penalty": 0.5, "presence_penalty": "x", "n": 2, "best_of": 2,
        "functions": [], "function_call": "auto", "documents": [{}], "reasoning_effort": "high", "min_tokens": 3,
        "ignore_eos": True, "stop_token_ids": [5], "bad_words": ["x"], "allowed_token_ids": [1], "echo": True,
        "include_stop_str_in_output": True, "truncate_prompt_tokens": 5, "prompt_logprobs": 1, "chat_template": "x",
        "add_special_tokens": True, "continue_final_message": True, "structured_outputs": {}, "guided_json": {},
        "modalities": ["audio"], "skip_special_tokens": True, "use_beam_search": True, "length_penalty": 2.0,
    }  # fmt: skip
    for key, value in changed.items():
        yield _chat(f"unsupported: {key}", **{key: value})
    for key in ("n", "ignore_eos", "logprobs"):
        yield _chat(f"{key} of another type", **{key: True if key == "n" else 0})


def _messages() -> Iterator[Malformed]:
    roles: tuple[Any, ...] = (
        "wizard",
        "",
        "System",
        "USER",
        " user",
        None,
        1,
        True,
        [],
        {},
        ["user"],
        "user\x00",
        "x" * 10_000,
    )
    for role in roles:
        yield _chat(f"role {role!r:.20}", messages=[{"role": role, "content": "x"}])
    contents: tuple[Any, ...] = (
        1,
        1.5,
        True,
        {},
        {"type": "text", "text": "x"},
        [1],
        [None],
        [[]],
        [{}],
        [{"type": "text"}],
    )
    for content in contents:
        yield _chat(f"content {content!r}", messages=[{"role": "user", "content": content}])
    for part in ({"type": "image_url", "image_url": {"url": "x"}}, {"type": "text", "text": 1}, {"type": None}):
        yield _chat(f"part {part}", messages=[{"role": "user", "content": [part]}])
    messages: tuple[Any, ...] = (
        {},
        {"content": "x"},
        {"role": "user"},
        {"role": "user", "content": None},
        None,
        1,
        "x",
        [],
        [USER],
    )
    for message in messages:
        yield _chat(f"message {message!r}", messages=[message])
    messages_of_users: tuple[Any, ...] = (
        {"wizard": 1},
        {"name": 1},
        {"tool_call_id": "c"},
        {"tool_calls": [CALL]},
        {"train": "x"},
    )
    for message in messages_of_users:
        yield _chat(f"user with {message}", messages=[{**USER, **message}])
    call_lists: tuple[Any, ...] = (
        1,
        "x",
        [1],
        [None],
        [{}],
        [{"function": 1}],
        [{"function": {}}],
        [{"type": "x"}],
    )
    for calls in call_lists:
        yield _chat(f"calls {calls!r}", messages=[USER, {"role": "assistant", "tool_calls": calls}])
    for name, arguments in ((1, "{}"), ("", "{}"), (None, "{}"), ("f", "{"), ("f", "[]"), ("f", 1), ("f", "[" * 10**5)):
        call = {"id": "c", "type": "function", "function": {"name": name, "arguments": arguments}}
        yield _chat(f"call {name} {arguments!r:.20}", messages=[USER, {"role": "assistant", "tool_calls": [call]}])
    result = {"role": "tool", "content": "1", "tool_call_id": "c1"}
    asked = {"role": "assistant", "content": None, "tool_calls": [CALL]}
    yield _chat("a result without a call", messages=[USER, result])
    yield _chat("a result without an id or a call", messages=[USER, {"role": "tool", "content": "1"}])
    yield _chat("a result of another call", messages=[USER, asked, {**result, "tool_call_id": "c2"}])
    yield _chat("a result with a number as id", messages=[USER, asked, {**result, "tool_call_id": 5}])
    yield _chat("two results of one call", messages=[USER, asked, result, result])
    yield _chat("two calls with one id", messages=[USER, {**asked, "tool_calls": [CALL, CALL]}, result, result])
    yield _chat("an assistant turn with nothing", messages=[USER, {"role": "assistant", "content": None}, USER])


def _tools() -> Iterator[Malformed]:
    tools: tuple[Any, ...] = (
        {},
        {"type": "function"},
        {"function": 1},
        {"function": {}},
        {"function": {"name": 1}},
        None,
        1,
        "x",
    )
    for tool in tools:
        yield _chat(f"tool {tool!r}", tools=[tool])
    changes: tuple[Any, ...] = (
        {"name": ""},
        {"name": None},
        {"description": 1},
        {"parameters": "x"},
        {"parameters": []},
    )
    for change in changes:
        yield _chat(f"tool with {change}", tools=[{"function": {"name": "f", **change}}])
    yield _chat("tool strict", tools=[{"function": {"name": "f", "strict": "yes"}}])
    yield _chat("tool type", tools=[{"type": "web_search", "function": {"name": "f"}}])


VARIABLES = (
    "messages", "tools", "add_generation_prompt", "tokenize", "bos_token", "eos_token", "pad_token", "documents",
    "chat_template", "conversation", "continue_final_message", "return_dict", "return_tensors", "padding",
    "truncation", "max_length", "tokenizer_kwargs", "raise_exception", "strftime_now", "range", "namespace", "loop",
    "self", "caller", "dict", "cycler", "joiner", "lipsum", "message", "content", "", " ", "enable thinking",
    "__class__", "x" * 10_000,
)  # fmt: skip


def _variables() -> Iterator[Malformed]:
    for name in VARIABLES:
        yield _chat(f"template variable {name:.30}", chat_template_kwargs={name: "x"})
    yield _chat("many template variables", chat_template_kwargs={f"x{n}": n for n in range(10_000)})
