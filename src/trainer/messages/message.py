"""Read one message of any layout that writes messages as objects: strict keys, one meaning each. Pairs nothing."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from trainer.messages.alternatives import read_alternatives
from trainer.messages.calls import ReadCalls, read_call, read_calls
from trainer.types import Message, Role, ToolCallJson
from trainer.values.places import check_keys, described, fail, nearest, take_text

OPENAI_ROLES: Mapping[str, Role] = {
    "system": "system",
    "developer": "system",
    "user": "user",
    "assistant": "assistant",
    "tool": "tool",
    "function": "tool",
}

_REASONING = ("reasoning_content", "reasoning", "thinking")
_ASSISTANT_ONLY = ("tool_calls", "function_call", "refusal", "alternatives", *_REASONING)
_FROM_SERVERS = ("annotations", "audio")  # keys of OpenAI's answers that no chat template shows
KEYS = ("role", "content", "name", "tool_call_id", "train", "weight", *_ASSISTANT_ONLY)
_THINK, _END_THINK = "<think>", "</think>"
SILENT = "the assistant says nothing and calls nothing; write its answer or remove the turn"
_BLANK: tuple[Any, ...] = (None, "", [], {}, ())


class ReadMessage(NamedTuple):
    """A message in canonical form, which of its calls had a struct as arguments, and what was converted."""

    message: Message
    structs: tuple[int, ...] = ()
    converted: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Words:
    """How a layout names things: role words with what they mean, and the keys of role and content.

    `text_calls` takes the calls out of an assistant turn's text, in layouts that write them there. `splits_reasoning`
    moves a `<think>` block at the start of a turn into `reasoning_content`.
    """

    roles: Mapping[str, Role] = field(default_factory=lambda: OPENAI_ROLES)
    role_key: str = "role"
    content_key: str = "content"
    text_calls: Callable[[str, str], tuple[str, list[ToolCallJson], tuple[str, ...]]] | None = None
    splits_reasoning: bool = True

    def role_of(self, message: Mapping[str, Any], where: str) -> Role:
        """The role that a message's role word means."""
        word = message.get(self.role_key)
        role = self.roles.get(word) if isinstance(word, str) else None
        if role is None:
            found = described(word)
            fail(where, f"{self.role_key} is {found}; {nearest(word, tuple(self.roles))} Use a known role")
        return role


def message_of(message: Any, where: str, words: Words) -> ReadMessage:
    """One message. Raises `DataError` for a key without a meaning, or a value that is not what its key takes."""
    if not isinstance(message, Mapping):
        fail(where, f"a message is {described(message)}; it must be an object with {words.role_key}")
    own = {words.role_key, words.content_key}
    known = [*own, *(key for key in KEYS if key not in ("role", "content"))]
    check_keys({key: message[key] for key in message if not _is_empty_from_server(message, key)}, known, where)
    role = words.role_of(message, where)
    word = message[words.role_key]
    notes = [f"role {word} read as {role}"] if word in ("developer", "function") else []
    _refuse_misplaced(message, role, where)
    read = _read_assistant(message, where, words) if role == "assistant" else _read_other(message, role, where, words)
    _copy_rest(message, read.message, where)
    return ReadMessage(read.message, read.structs, (*notes, *read.converted))


def read_content(value: Any, where: str, what: str = "content") -> tuple[str, tuple[str, ...]]:
    """Content as text. Text parts are joined with line breaks, as vLLM does for templates that take text."""
    if isinstance(value, str):
        return value, ()
    if not isinstance(value, list | tuple):
        fail(where, f"{what} is {described(value)}; it must be text or a list of text parts")
    texts = [_part(part, f"{where}, {what} part {index}") for index, part in enumerate(value)]
    return "\n".join(texts), (f"{what} joined from text parts",)


def split_reasoning(content: str) -> tuple[str, str] | None:
    """The reasoning and the rest of text that begins with a whole `<think>` block; None for other text."""
    start = len(content) - len(content.lstrip())
    if not content.startswith(_THINK, start):
        return None
    reasoning, closing, rest = content[start + len(_THINK) :].partition(_END_THINK)
    return (reasoning.strip(), rest.lstrip()) if closing else None


def _part(part: Any, where: str) -> str:
    if isinstance(part, str):
        return part
    if not isinstance(part, Mapping):
        fail(where, f"it is {described(part)}; it must be a text part")
    kind = part.get("type")
    if kind not in ("text", "refusal"):
        fail(where, f'type is {described(kind)}; allowed: "text". This project trains on text alone')
    check_keys(part, ("type", kind, "annotations", "cache_control"), where)
    return take_text(part.get(kind), where, str(kind))


def _refuse_misplaced(message: Mapping[str, Any], role: Role, where: str) -> None:
    if role != "assistant":
        for key in _ASSISTANT_ONLY:
            if message.get(key) not in _BLANK and not _is_padding(message[key]):
                fail(where, f"{key} is on a {role} message; only an assistant turn has it. Move or remove it")
    if role != "tool" and message.get("tool_call_id") not in _BLANK:
        fail(where, f"tool_call_id is on a {role} message; only a tool result has it. Move or remove it")


def _read_other(message: Mapping[str, Any], role: Role, where: str, words: Words) -> ReadMessage:
    value = message.get(words.content_key)
    content, notes = read_content(value, where, words.content_key)
    read = Message(role=role, content=content)
    if role == "tool" and message.get("tool_call_id") not in (None, ""):
        read["tool_call_id"] = take_text(message["tool_call_id"], where, "tool_call_id")
    return ReadMessage(read, (), notes)


def _read_assistant(message: Mapping[str, Any], where: str, words: Words) -> ReadMessage:
    value = message.get(words.content_key)
    content, notes = ("", ()) if value is None else read_content(value, where, words.content_key)
    refusal = message.get("refusal")
    if refusal not in (None, ""):
        if content.strip():
            fail(where, f"the turn has both {words.content_key} and a refusal; keep one")
        content, notes = take_text(refusal, where, "refusal"), (*notes, "refusal read as content")
    reasoning, more = _reasoning(message, where)
    split = split_reasoning(content) if words.splits_reasoning else None
    if split is not None:
        if reasoning and split[0] and split[0] != reasoning:
            fail(where, "the turn has reasoning in its content and in a key of its own; keep one")
        reasoning, content = reasoning or split[0], split[1]
        more += ("<think> block read as reasoning_content",)
    read = _calls(message, where)
    calls = read.calls
    if words.text_calls is not None:
        content, written, noted = words.text_calls(content, where)
        if calls and written:
            fail(where, "the turn has calls in its text and in tool_calls; keep one")
        calls, more = calls or written, (*more, *noted)
    if value is None and not (content or calls or reasoning):
        fail(where, SILENT)
    return ReadMessage(assistant_message(content, calls, reasoning), read.structs, (*notes, *more, *read.converted))


def refuse_blank_turn(message: Message, where: str) -> None:
    """Refuse a turn of training data in which nobody says anything: a model would learn to be silent."""
    if message["role"] not in ("user", "assistant") or (message.get("content") or "").strip():
        return
    if message["role"] == "user":
        fail(where, "the user says nothing (content is blank); write what the user says, or remove the turn")
    if not message.get("tool_calls") and not message.get("reasoning_content"):
        fail(where, SILENT)


def assistant_message(content: str, calls: Sequence[ToolCallJson], reasoning: str) -> Message:
    """An assistant turn in canonical form."""
    message = Message(role="assistant", content=content)
    if calls:
        message["tool_calls"] = list(calls)
    if reasoning:
        message["reasoning_content"] = reasoning
    return message


def _calls(message: Mapping[str, Any], where: str) -> ReadCalls:
    read = read_calls(message.get("tool_calls"), where)
    legacy = message.get("function_call")
    if legacy in (None, "", {}) or _is_padding(legacy):
        return read
    if read.calls:
        fail(where, "the turn has both tool_calls and function_call; keep tool_calls")
    read = read_call(legacy, f"{where}, function_call")
    return ReadCalls(read.calls, read.structs, (*read.converted, "function_call read as tool_calls"))


def _is_empty_from_server(message: Mapping[str, Any], key: str) -> bool:
    return key in _FROM_SERVERS and message[key] in _BLANK


def _is_padding(value: Any) -> bool:
    """Whether a struct holds nothing but the nulls that Arrow filled in."""
    return isinstance(value, Mapping) and all(inner is None for inner in value.values())


def _reasoning(message: Mapping[str, Any], where: str) -> tuple[str, tuple[str, ...]]:
    found = {key: take_text(message[key], where, key) for key in _REASONING if message.get(key) is not None}
    given = {key: value for key, value in found.items() if value.strip()}
    if len(set(given.values())) > 1:
        fail(where, f"the turn has different reasoning under {' and '.join(given)}; keep one")
    if not given:
        return "", ()
    key, value = next(iter(given.items()))
    return value, (f"{key} read as reasoning_content",) if key != "reasoning_content" else ()


def _copy_rest(message: Mapping[str, Any], read: Message, where: str) -> None:
    if message.get("name") not in (None, ""):
        read["name"] = take_text(message["name"], where, "name")
    if message.get("alternatives") not in _BLANK:
        read["alternatives"] = read_alternatives(message["alternatives"], where)
    train, weight = message.get("train"), message.get("weight")
    if train is not None and not isinstance(train, bool):
        fail(where, f"train is {described(train)}; allowed: true, false")
    if weight is not None and (isinstance(weight, bool) or weight not in (0, 1)):
        fail(where, f"weight is {described(weight)}; allowed: 0 (context only), 1 (trained)")
    if train is not None and weight is not None and train != bool(weight):
        fail(where, f"train is {described(train)}, but weight is {weight}; keep one")
    if read["role"] == "assistant" and (train is False or (weight is not None and not weight)):
        read["train"] = False
