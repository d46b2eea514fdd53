"""How answers are decoded, and which tokens end them. Loads no weights and decodes nothing."""

from dataclasses import dataclass
from typing import Any

from transformers import AutoConfig, GenerationConfig

from trainer.chat import ChatEncoder
from trainer.config import Config
from trainer.errors import ModelError
from trainer.model_source import load_failure


@dataclass(frozen=True, slots=True)
class DecodeSettings:
    """How answers are decoded.

    `max_batch_tokens` bounds memory: the tokens of a decoding batch, beside which the caches of a quarter as many are
    held. A turn or a session that is longer by itself comes alone.
    """

    stop_token_ids: frozenset[int]
    max_new_tokens: int
    max_context_tokens: int
    temperature: float = 0.0
    seed: int = 0
    max_batch_tokens: int = 32_768


def decode_settings(cfg: Config, encoder: ChatEncoder, model: Any, *, greedy: bool = False) -> DecodeSettings:
    """How a run's evaluation decodes, or the same without chance where a comparison is to be `greedy`.

    An answer ends at a stop token of the chat template or of the model's generation config.
    """
    return DecodeSettings(
        stop_token_ids=frozenset(encoder.stop_token_ids) | stop_tokens(getattr(model, "generation_config", None)),
        max_new_tokens=cfg.eval.max_new_tokens_eval,
        max_context_tokens=cfg.data.max_context_length,
        temperature=0.0 if greedy else cfg.eval.temperature,
        seed=cfg.seed,
    )


def stop_tokens(generation_config: Any) -> frozenset[int]:
    """The tokens at which a model's own configuration ends generation."""
    ids = getattr(generation_config, "eos_token_id", None)
    return frozenset([ids] if isinstance(ids, int) else ids or ())


def own_stop_tokens(model: str, *, trust_remote_code: bool) -> frozenset[int]:
    """The same of a model that is not loaded, by folder or hub id. Raises `ModelError`."""
    try:
        return stop_tokens(GenerationConfig.from_pretrained(model))
    except OSError:  # it has none: then its configuration counts, as in `from_pretrained`
        pass
    try:
        config = AutoConfig.from_pretrained(model, trust_remote_code=trust_remote_code)
    except (OSError, ValueError) as error:
        raise ModelError(load_failure("configuration", model, error)) from error
    return stop_tokens(GenerationConfig.from_model_config(config))
