"""Load the tokenizer of a configuration, with its chat template and a pad token. Loads no model."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from trainer.config import Config
from trainer.errors import ModelError
from trainer.model_source import load_failure, tokenizer_place

if TYPE_CHECKING:  # transformers imports torch if it is installed; building turns needs neither
    from transformers.tokenization_utils_base import PreTrainedTokenizerBase


def load_tokenizer(cfg: Config, *, folder: Path | None = None) -> "PreTrainedTokenizerBase":
    """The configured tokenizer, or the one saved in `folder`, with its chat template and a pad token.

    A saved tokenizer keeps the template that it was saved with. Raises `ModelError`.
    """
    from transformers import AutoTokenizer

    name = cfg.tokenizer_name if folder is None else str(folder)
    place = tokenizer_place(cfg) if folder is None else None
    try:
        if place is None:
            tokenizer = AutoTokenizer.from_pretrained(folder, trust_remote_code=cfg.model.trust_remote_code)
        else:
            tokenizer = AutoTokenizer.from_pretrained(
                place.name, revision=place.revision, trust_remote_code=cfg.model.trust_remote_code
            )
    except (OSError, ValueError) as error:
        raise (
            place.failure("tokenizer", error) if place else ModelError(load_failure("tokenizer", name, error))
        ) from error
    if folder is None and cfg.model.chat_template_path is not None:
        tokenizer.chat_template = _read_template(cfg.model.chat_template_path)
    if tokenizer.chat_template is None:
        raise ModelError(f"{name}: has no chat template; set model.chat_template_path")
    set_pad_token(tokenizer, fallback=cfg.model.pad_token_fallback)
    return tokenizer


def decode_text(tokenizer: "PreTrainedTokenizerBase", ids: Sequence[int]) -> str:
    """The exact text of tokens, with special tokens kept and spaces not cleaned up."""
    text = tokenizer.decode(list(ids), skip_special_tokens=False, clean_up_tokenization_spaces=False)
    assert isinstance(text, str)
    return text


def set_pad_token(tokenizer: "PreTrainedTokenizerBase", *, fallback: str) -> None:
    """Give a tokenizer without a pad token an existing one: `eos`, `unk`, or a token of its vocabulary.

    The vocabulary never grows, so the base model's embedding does not change. Raises `ModelError`.
    """
    if tokenizer.pad_token is not None:
        return
    named = {"eos": tokenizer.eos_token, "unk": tokenizer.unk_token}
    token = named.get(fallback, fallback)
    if token is None or token not in tokenizer.get_vocab():
        raise ModelError(
            f"model.pad_token_fallback: {fallback!r} is not a token of this tokenizer; "
            "use eos, unk or a token of its vocabulary"
        )
    tokenizer.pad_token = token


def _read_template(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except OSError as error:
        raise ModelError(f"model.chat_template_path: {path} cannot be read: {error.strerror}") from error
