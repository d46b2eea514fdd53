"""Small tokenizers for the odd templates, trained in process: one kind for each way in which tokenizers differ."""

import re
from typing import Literal, get_args

from tokenizers import AddedToken, Tokenizer
from transformers import PreTrainedTokenizerFast

from tests.support.chat import tokenizer_for
from tests.support.odd_templates import OddTemplate

# byte_level   merges bytes, as Llama 3 and Qwen do
# metaspace    marks spaces and falls back to bytes, as SentencePiece does
# whitespace   byte_level with one token for each of "\n", "\n\n" and two spaces, added but not special
# no_chatml    byte_level that writes <|im_start|> and <|im_end|> as letters
# no_eos       byte_level without a token that ends a text
OddKind = Literal["byte_level", "metaspace", "whitespace", "no_chatml", "no_eos"]
ODD_KINDS: tuple[OddKind, ...] = get_args(OddKind)

_WHITESPACE = ("\n", "\n\n", "  ")
_CHATML = re.compile(r"<\|im_(?:start|end)\|>")


def odd_tokenizer(template: OddTemplate, kind: OddKind) -> PreTrainedTokenizerFast:
    """Return a tokenizer of this kind with the tokens of the template, and the template.

    A kind wins over the template: without ChatML tokens, a template that ends its turns with them has no stop token.
    """
    special, added, eos = template.special_tokens, template.added_tokens, template.eos
    if kind == "whitespace":
        added = (*added, *(text for text in _WHITESPACE if text not in added))
    if kind == "no_chatml":
        special, added = _without_chatml(special), _without_chatml(added)
        eos = "<eos>" if _CHATML.fullmatch(eos) else eos
    # A template without markup gives a tokenizer with no added tokens but <bos> and <eos>.
    plain = tokenizer_for("", "metaspace" if kind == "metaspace" else "byte_level")
    raw = Tokenizer.from_str(plain.backend_tokenizer.to_str())
    raw.add_special_tokens([AddedToken(text, normalized=False, special=True) for text in (*special, eos)])
    raw.add_tokens([AddedToken(text, normalized=False, special=False) for text in added])
    names = {} if kind == "no_eos" else {"eos_token": eos, "pad_token": eos}
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=raw, bos_token="<bos>", **names)
    tokenizer.chat_template = template.text
    return tokenizer


def _without_chatml(tokens: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(token for token in tokens if not _CHATML.fullmatch(token))
