"""Give finished texts to vLLM's serving code as if a model were writing them, and see what a client would receive.

Runs inside vLLM's environment (0.32) and starts no engine: the parsers are composed, called and finished by vLLM.
"""

import json
from collections.abc import Iterator, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any, NamedTuple, TypedDict

from trainer.tool_calls.served import ServedCall
from trainer.types import Tool


class Reader(NamedTuple):
    """vLLM's parser class for a tool-call parser and a reasoning parser, and the tokenizer that it works with."""

    parser: Any
    tokenizer: Any


class Received(NamedTuple):
    """What a client receives for one answer. `error` is set if vLLM's parser raised an exception."""

    content: str
    calls: tuple[ServedCall, ...]
    error: str | None = None


class Piece(NamedTuple):
    """The text of some tokens, and their ids."""

    text: str
    ids: tuple[int, ...]


def open_reader(parser: str, tokenizer: Any, *, plugin: str | None = None, reasoning: str | None = None) -> Reader:
    """Return the reader that vLLM would use with these flags. Raises what vLLM raises when it does not start."""
    import_module("vllm.entrypoints.openai.chat_completion.protocol")  # first: vLLM's modules import each other
    if plugin is not None:
        import_module("vllm.tool_parsers").ToolParserManager.import_tool_parser(plugin)
    find = import_module("vllm.parser").ParserManager.get_parser
    found = find(tool_parser_name=parser, reasoning_parser_name=reasoning, enable_auto_tools=True, tokenizer=tokenizer)
    return Reader(found, tokenizer)


def receive_whole(reader: Reader, text: str, tools: Sequence[Tool], *, ids: Sequence[int] | None = None) -> Received:
    """Return what a client receives for a text that is sent at once. `ids` are its tokens (default: found here)."""
    request = _request(tools)
    try:
        parser = reader.parser(reader.tokenizer, request.tools)
        if ids is None:
            ids = [token for piece in pieces(reader.tokenizer, text) for token in piece.ids]
        _, content, calls = parser.parse(text, request, enable_auto_tools=True, model_output_token_ids=ids)
    except Exception as error:  # whatever a parser raises, the client receives an error
        return Received("", (), f"{type(error).__name__}: {error}")
    return Received(content or "", tuple(ServedCall(call.name, call.arguments) for call in calls or ()))


def receive_streamed(reader: Reader, parts: Sequence[Piece], tools: Sequence[Tool]) -> Received:
    """Return what a client has received when the stream of these parts has ended."""
    request = _request(tools)
    content: list[str] = []
    calls: dict[int, list[str]] = {}
    try:
        parser = reader.parser(reader.tokenizer, request.tools)
        for number, part in enumerate([*parts, Piece("", ())]):
            delta = parser.parse_delta(
                part.text, list(part.ids), request, prompt_token_ids=[], finished=number == len(parts)
            )
            if delta is None:
                continue
            content.append(delta.content or "")
            for call in delta.tool_calls or ():
                found = calls.setdefault(call.index, ["", ""])
                found[0] += (call.function and call.function.name) or ""
                found[1] += (call.function and call.function.arguments) or ""
    except Exception as error:  # whatever a parser raises, the client receives an error
        return Received("", (), f"{type(error).__name__}: {error}")
    return Received("".join(content), tuple(ServedCall(*found) for _, found in sorted(calls.items())))


def pieces(tokenizer: Any, text: str, *, n_tokens: int = 1) -> list[Piece]:
    """Return the text in pieces of `n_tokens` tokens. Tokens of a part of a character come together."""
    try:
        encoded = tokenizer(text, add_special_tokens=False, return_offsets_mapping=True)
    except NotImplementedError:  # a tokenizer that is not a fast one
        return characters(tokenizer, text, n_tokens)
    single: list[Piece] = []
    end = 0
    for token, (_, stop) in zip(encoded["input_ids"], encoded["offset_mapping"], strict=True):
        if stop > end or not single:
            single.append(Piece(text[end:stop], (token,)))
            end = max(end, stop)
        else:
            single[-1] = Piece(single[-1].text, (*single[-1].ids, token))
    if end < len(text):  # white space that the tokenizer drops
        single.append(Piece(text[end:], ()))
    return list(_joined(single, n_tokens))


def characters(tokenizer: Any, text: str, n_characters: int) -> list[Piece]:
    """Return the text in pieces of `n_characters`, which may cut markers in two."""
    parts = (text[start : start + n_characters] for start in range(0, len(text), n_characters))
    return [Piece(part, tuple(tokenizer(part, add_special_tokens=False)["input_ids"])) for part in parts]


def _joined(single: Sequence[Piece], n: int) -> Iterator[Piece]:
    for start in range(0, len(single), n):
        group = single[start : start + n]
        yield Piece("".join(piece.text for piece in group), tuple(token for piece in group for token in piece.ids))


def _request(tools: Sequence[Tool]) -> Any:
    protocol = import_module("vllm.entrypoints.openai.chat_completion.protocol")
    body: dict[str, Any] = {"model": "any", "messages": []}
    return protocol.ChatCompletionRequest.model_validate(body | ({"tools": list(tools)} if tools else {}))


class Question(TypedDict):
    """What `main` reads: the flags of the server, and the texts with the tools of their requests."""

    parser: str
    plugin: str | None
    tokenizer: str
    trust_remote_code: bool
    turns: list["TurnJson"]


class TurnJson(TypedDict):
    """A turn as a model would write it."""

    text: str
    tools: list[Tool]


def main(asked: str, answered: str) -> int:
    """Read the turns of a file by the named parser, whole and streamed, and write what a client would receive."""
    question: Question = json.loads(Path(asked).read_text(encoding="utf-8"))
    open_tokenizer = import_module("vllm.tokenizers").get_tokenizer
    tokenizer = open_tokenizer(question["tokenizer"], trust_remote_code=question["trust_remote_code"])
    reader = open_reader(question["parser"], tokenizer, plugin=question["plugin"])
    answers = [
        (
            receive_whole(reader, turn["text"], turn["tools"]),
            receive_streamed(reader, pieces(tokenizer, turn["text"]), turn["tools"]),
        )
        for turn in question["turns"]
    ]
    Path(answered).write_text(json.dumps(answers), encoding="utf-8")
    return 0
