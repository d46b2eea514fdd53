"""Settings for decoding: limits, temperature, and the tokens that end an answer. Loads no weights."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from transformers import AutoConfig, GenerationConfig

from trainer.chat import ChatEncoder
from trainer.config import Config
from trainer.errors import ModelError
from trainer.generation.memory_budget import most_batch_tokens
from trainer.model_source import load_failure


@dataclass(frozen=True, slots=True)
class DecodeSettings:
    """How answers are decoded.

    `max_batch_tokens` bounds memory. Half of it is the most tokens of sessions whose caches are held at the same time,
    and half the most new tokens of the answers that are decoded together and share these caches. A longer session is
    decoded alone. If a model's answers cannot share caches, each has a copy of its prefix, and it is the most tokens in
    a batch of copies. A copy of recurrent states counts as the tokens whose keys and values, if every layer had them,
    would take as much memory; at the same time, about half of `max_batch_tokens` is held in copies that wait.

    `logit_bias` is added to the logits of these tokens at every position of an answer, before a token is chosen.
    `call_token_ids` are the tokens that begin a call; if there are any, each turn gets the margin of a call.
    """

    stop_token_ids: frozenset[int]
    max_new_tokens: int
    max_context_tokens: int
    temperature: float = 0.0
    seed: int = 0
    max_batch_tokens: int = 32_768
    logit_bias: Mapping[int, float] = field(default_factory=dict)
    call_token_ids: tuple[int, ...] = ()


def decode_settings(cfg: Config, encoder: ChatEncoder, model: Any, *, greedy: bool = False) -> DecodeSettings:
    """The settings of a run's evaluation; `greedy` sets the temperature to 0 for comparisons.

    An answer ends at a stop token of the chat template or of the model's generation config.
    """
    return DecodeSettings(
        stop_token_ids=frozenset(encoder.stop_token_ids) | stop_tokens(getattr(model, "generation_config", None)),
        max_new_tokens=cfg.eval.max_new_tokens_eval,
        max_context_tokens=cfg.data.max_context_length,
        temperature=0.0 if greedy else cfg.eval.temperature,
        seed=cfg.seed,
        max_batch_tokens=most_batch_tokens(model),
    )


def stop_tokens(generation_config: Any) -> frozenset[int]:
    """The stop tokens in a model's generation config."""
    ids = getattr(generation_config, "eos_token_id", None)
    return frozenset([ids] if isinstance(ids, int) else ids or ())


def own_stop_tokens(model: str, *, revision: str | None = None, trust_remote_code: bool) -> frozenset[int]:
    """The stop tokens of a model that is not loaded, by folder or hub id and its revision. Raises `ModelError`."""
    at = revision or "main"
    try:
        return stop_tokens(GenerationConfig.from_pretrained(model, revision=at))
    except OSError:  # no generation config: use the model config, as `from_pretrained` does
        pass
    try:
        config = AutoConfig.from_pretrained(model, revision=at, trust_remote_code=trust_remote_code)
    except (OSError, ValueError) as error:
        raise ModelError(load_failure("configuration", model, error)) from error
    return stop_tokens(GenerationConfig.from_model_config(config))
