"""Load what a run trained: base model with its adapter, its tokenizer and template, ready to answer. Trains nothing."""

from pathlib import Path

import torch
from peft import PeftModel
from transformers import AutoTokenizer
from transformers.tokenization_utils_base import PreTrainedTokenizerBase

from trainer.chat import ChatEncoder
from trainer.config import Config
from trainer.errors import ModelError
from trainer.lora_model import load_base_model
from trainer.model_source import load_failure
from trainer.training.finished_run import TrainedRun


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


def best_device() -> torch.device:
    """A CUDA GPU where there is one, else the CPU."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")
