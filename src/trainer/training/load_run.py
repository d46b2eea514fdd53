"""Load the model that a run trained: the base model with its adapter. Trains nothing."""

import torch
from peft import PeftModel

from trainer.config import Config
from trainer.errors import ModelError
from trainer.lora_model import load_base_model
from trainer.model_source import load_failure
from trainer.training.finished_run import FinishedRun


def load_adapted(run: FinishedRun, *, dtype: str | None = None) -> PeftModel:
    """Return the run's base model with its adapter on the best device, in the run's precision or in `dtype`.

    Raises `ModelError`.
    """
    run.base_place()
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
    """Return the configuration with another precision, if one is given."""
    if dtype is None:
        return cfg
    return cfg.model_copy(update={"model": cfg.model.model_copy(update={"torch_dtype": dtype})})


def best_device() -> torch.device:
    """Return a CUDA GPU if this machine has one, else the CPU."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")
