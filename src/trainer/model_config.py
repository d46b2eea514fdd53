"""Compare the base model's configuration with what a run asks of it: context length and token ids. Loads no weights."""

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from trainer.config import Config
from trainer.errors import ModelError
from trainer.model_source import base_model_place

if TYPE_CHECKING:
    from transformers import PretrainedConfig
    from transformers.tokenization_utils_base import PreTrainedTokenizerBase

_N_TOKENS_SHOWN = 5


def load_model_config(cfg: Config) -> "PretrainedConfig":
    """The base model's configuration, checked against `data.max_context_length`. Raises `ModelError`."""
    from transformers import AutoConfig

    name, place = cfg.model.base_model_name, base_model_place(cfg)
    try:
        model_config: PretrainedConfig = AutoConfig.from_pretrained(
            place.name, revision=place.revision, trust_remote_code=cfg.model.trust_remote_code
        )
    except (OSError, ValueError) as error:
        raise place.failure("base model", error) from error
    positions = getattr(model_config.get_text_config(), "max_position_embeddings", None)
    if positions is not None and cfg.data.max_context_length > positions:
        raise ModelError(
            f"data.max_context_length: got {cfg.data.max_context_length}; "
            f"{name} supports at most {positions} tokens; set it to {positions} or less"
        )
    return model_config


def check_embedding(
    tokenizer: "PreTrainedTokenizerBase", model_config: "PretrainedConfig", *, name: str
) -> dict[int, str]:
    """The tokens, by id, that the tokenizer has and the model's embedding lacks; usually none.

    Such a token may only be an added special token that neither the chat template nor the tokenizer itself uses, as
    Gemma 3 has for images; `check_ids` then refuses rows that hold one. `name` is the base model's.

    Raises:
        ModelError: the tokenizer has other ids that the embedding lacks.
    """
    size = getattr(model_config.get_text_config(), "vocab_size", None)
    vocabulary = tokenizer.get_vocab()
    lacking = {} if size is None else {i: token for token, i in sorted(vocabulary.items()) if i >= size}
    template: Any = tokenizer.chat_template or ""
    source = "".join(template.values()) if isinstance(template, Mapping) else str(template)
    used = {tokenizer.bos_token, tokenizer.eos_token, tokenizer.pad_token, tokenizer.unk_token}
    special = {i for i, token in tokenizer.added_tokens_decoder.items() if token.special}
    needed = [token for i, token in lacking.items() if i not in special or token in used or token in source]
    if needed:
        shown = ", ".join(needed[:_N_TOKENS_SHOWN]) + (", …" if len(needed) > _N_TOKENS_SHOWN else "")
        raise ModelError(
            f"{name}: the tokenizer has {max(vocabulary.values()) + 1} token ids, but the model's embedding has only "
            f"{size} ({shown}); use the tokenizer that belongs to the model (data.tokenizer), or a chat template and "
            "pad token without these tokens"
        )
    return lacking


def check_ids(rows: Iterable[Mapping[str, Any]], lacking: Mapping[int, str], *, name: str) -> None:
    """Refuse rows of tokens (`input_ids`) with an id that the base model's embedding lacks. Raises `ModelError`."""
    if not lacking:
        return
    for number, row in enumerate(rows):
        token = next((lacking[i] for i in row["input_ids"] if i in lacking), None)
        if token is not None:
            where = f"session {row['session_id']}" if "session_id" in row else f"row {number}"
            raise ModelError(f"{where}: holds the token {token}, which {name} has no embedding for; take it out")
