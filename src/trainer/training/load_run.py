"""Load what a run trained: base model with its adapter, its tokenizer and template, ready to answer. Trains nothing."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from peft import PeftModel
from torch import nn
from transformers import AutoConfig, AutoTokenizer, GenerationConfig
from transformers.tokenization_utils_base import PreTrainedTokenizerBase

from trainer.base_models import load_failure
from trainer.chat import ChatEncoder
from trainer.config import Config
from trainer.continuation import DecodeSettings
from trainer.errors import ModelError
from trainer.lora_model import load_base_model
from trainer.precision import bfloat16_autocast, computes_in_bfloat16, let_autocast_choose
from trainer.trained_run import TrainedRun


def load_adapted(run: TrainedRun, *, dtype: str | None = None) -> PeftModel:
    """The run's base model with the trained adapter, in the run's precision or in `dtype`, on the best device.

    Raises `ModelError`.
    """
    base = load_base_model(with_dtype(run.cfg, dtype))
    if run.cfg.model.quantization is None:
        base.to(best_device())  # type: ignore[arg-type]
    try:
        model = PeftModel.from_pretrained(base, str(run.path))
    except (OSError, ValueError, RuntimeError) as error:
        raise ModelError(load_failure("adapter", str(run.path), error)) from error
    model.eval()
    return model


def with_dtype(cfg: Config, dtype: str | None) -> Config:
    """The configuration with another precision, where one is given."""
    if dtype is None:
        return cfg
    return cfg.model_copy(update={"model": cfg.model.model_copy(update={"torch_dtype": dtype})})


def load_folder_tokenizer(folder: Path, *, trust_remote_code: bool) -> PreTrainedTokenizerBase:
    """The tokenizer that lies in a run folder or a merged model, with its chat template. Raises `ModelError`."""
    try:
        tokenizer = AutoTokenizer.from_pretrained(folder, trust_remote_code=trust_remote_code)
    except (OSError, ValueError) as error:
        raise ModelError(load_failure("tokenizer", str(folder), error)) from error
    assert isinstance(tokenizer, PreTrainedTokenizerBase)
    return tokenizer


def run_encoder(run: TrainedRun) -> ChatEncoder:
    """The chat encoder of a run: its own tokenizer and template, with its template switches."""
    tokenizer = load_folder_tokenizer(run.path, trust_remote_code=run.cfg.model.trust_remote_code)
    return ChatEncoder(tokenizer, template_kwargs=run.cfg.data.chat_template_kwargs)


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


def best_device() -> torch.device:
    """A CUDA GPU where there is one, else the CPU."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


@contextmanager
def evaluation_precision(model: nn.Module) -> Iterator[None]:
    """Within it, an adapted model multiplies in the precision in which a run evaluates it."""
    active = computes_in_bfloat16(model)
    if active:
        let_autocast_choose(model)
    with bfloat16_autocast(active):
        yield
