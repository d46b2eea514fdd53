"""Load the tokenizer of a configuration, with its chat template and a pad token, or refuse it. Loads no model."""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trainer.config import Config
from trainer.errors import ModelError
from trainer.model_source import load_failure, tokenizer_place

if TYPE_CHECKING:  # transformers imports torch if it is installed; building turns needs neither
    from transformers.tokenization_utils_base import PreTrainedTokenizerBase


_PLAIN_TEXTS = ("The red car costs 12 francs.", 'Please call {"name": "find car"} for me, then answer.')
_MISTRAL_CLASS = "MistralCommonBackend"
_WRITE_BOS = "{{- bos_token }}"
_INDENT = re.compile(r"^[ \t]+(?=\{[%#])")  # Jinja leaves it out at the start of a line, but not after another tag


def load_tokenizer(cfg: Config, *, folder: Path | None = None) -> "PreTrainedTokenizerBase":
    """The configured tokenizer, or the one saved in `folder`, with its chat template and a pad token.

    A saved tokenizer keeps the template that it was saved with. A template from `model.chat_template_path` that never
    writes the BOS writes it first if the tokenizer begins every text with it, since models are trained that way.

    Raises `ModelError` if the tokenizer cannot be loaded, loses text, or has no usable chat template.
    """
    tokenizer = _load(cfg, folder)
    name = cfg.tokenizer_name if folder is None else str(folder)
    _check_text(tokenizer, name)
    if folder is None and cfg.model.chat_template_path is not None:
        template = _read_template(cfg.model.chat_template_path)
        tokenizer.chat_template = with_bos(tokenizer, template, cfg.data.chat_template_kwargs or {})
    _check_template(tokenizer.chat_template, name)
    set_pad_token(tokenizer, fallback=cfg.model.pad_token_fallback)
    return tokenizer


def _load(cfg: Config, folder: Path | None) -> "PreTrainedTokenizerBase":
    from transformers import AutoTokenizer

    place = tokenizer_place(cfg) if folder is None else None
    name = place.name if place else str(folder)
    # Else transformers prefers a tekken.json if mistral-common is installed, and reads no template.
    options: dict[str, Any] = {"trust_remote_code": cfg.model.trust_remote_code, "mistral_format": False}
    if place is not None:
        options["revision"] = place.revision
    try:
        tokenizer: PreTrainedTokenizerBase = AutoTokenizer.from_pretrained(name, **options)
    except Exception as error:  # `tokenizers` raises a plain Exception for a file that it cannot read
        raise (
            place.failure("tokenizer", error) if place else ModelError(load_failure("tokenizer", name, error))
        ) from error
    if type(tokenizer).__name__ == _MISTRAL_CLASS:
        raise ModelError(
            f"{name}: its tokenizer_config.json names the class {_MISTRAL_CLASS}, which has no chat template; in a "
            "copy of its files, set tokenizer_class to PreTrainedTokenizerFast, and name the copy in data.tokenizer"
        )
    return tokenizer


def _check_text(tokenizer: "PreTrainedTokenizerBase", name: str) -> None:
    """Refuse a tokenizer that does not give back plain text. Tokenizers like SentencePiece may add a space in front."""
    for text in _PLAIN_TEXTS:
        back = decode_text(tokenizer, tokenizer(text, add_special_tokens=False)["input_ids"])
        if back.removeprefix(" ") != text:
            # A byte-level tokenizer.json labelled LlamaTokenizer is read as SentencePiece, and loses its spaces.
            raise ModelError(
                f"{name}: the tokenizer ({type(tokenizer).__name__}, {len(tokenizer)} tokens) loses text: {text!r} "
                f"comes back as {back!r}; check that tokenizer.json and the model's config.json are there, or, in a "
                "copy of its files, set tokenizer_class in tokenizer_config.json to PreTrainedTokenizerFast, and name "
                "the copy in data.tokenizer"
            )


def _check_template(template: Any, name: str) -> None:
    """Refuse a tokenizer without chat template, or with named templates of which none is the default."""
    remedy = "set model.chat_template_path"
    if not template:
        processor = Path(name, "chat_template.json").is_file()
        reason = "; transformers reads chat_template.json only for processors" if processor else ""
        raise ModelError(f"{name}: has no chat template{reason}; {remedy}")
    if isinstance(template, Mapping) and "default" not in template:
        raise ModelError(f"{name}: has chat templates named {', '.join(template)}, but none named default; {remedy}")
    sources = template.values() if isinstance(template, Mapping) else [template]
    if not all(isinstance(source, str) for source in sources):
        raise ModelError(f"{name}: its chat template is not text; {remedy}")


def with_bos(tokenizer: "PreTrainedTokenizerBase", template: str, kwargs: Mapping[str, Any]) -> str:
    """The template, with the BOS in front if the tokenizer begins every text with it and the template never writes it.

    What a template writes is found by rendering conversations. `kwargs` are its arguments.
    """
    bos = tokenizer.bos_token
    if not isinstance(bos, str) or tokenizer("x")["input_ids"][:1] != [tokenizer.bos_token_id]:
        return template
    texts = _renderings(tokenizer, template, kwargs)
    if not texts or any(bos in text for text in texts):
        return template
    changed = _WRITE_BOS + _INDENT.sub("", template)
    if _renderings(tokenizer, changed, kwargs) != [bos + text for text in texts]:
        raise ModelError(
            f"model.chat_template_path: the template does not write {bos}, with which the tokenizer begins every text; "
            f"begin it with {_WRITE_BOS}"
        )
    return changed


def _renderings(tokenizer: "PreTrainedTokenizerBase", template: str, kwargs: Mapping[str, Any]) -> list[str]:
    """Renderings of a few conversations; those that the template refuses are left out."""
    from jinja2 import TemplateError

    tool = {"name": "find", "description": "Finds.", "parameters": {"type": "object", "properties": {}}}
    user, parts = {"role": "user", "content": "Hi"}, {"role": "user", "content": [{"type": "text", "text": "Hi"}]}
    tools: list[Any] = [{"type": "function", "function": tool}]
    samples: list[tuple[list[dict[str, Any]], list[Any] | None]] = [([user], None), ([user], tools), ([parts], None)]
    samples.append(([{"role": "system", "content": "Be brief."}, user], None))
    texts = []
    for messages, given in samples:
        try:
            text = tokenizer.apply_chat_template(
                messages, tools=given, chat_template=template, tokenize=False, add_generation_prompt=True, **kwargs
            )
        except (TemplateError, TypeError, ValueError, AttributeError, LookupError):
            continue
        texts.append(str(text))
    return texts


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
    except UnicodeDecodeError as error:
        raise ModelError(f"model.chat_template_path: {path} is not UTF-8 text; save it as UTF-8") from error
