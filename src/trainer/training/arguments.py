"""Turn `train` and `run` of the configuration into TrainingArguments. Knows no model and no data."""

import importlib.util
from pathlib import Path
from typing import Any

from trainer.config import Config
from trainer.config.schema import OWN_TRAIN_KEYS
from trainer.config.training_keys import training_argument_types
from trainer.errors import ConfigError
from trainer.training.best_model import best_model_arguments
from trainer.util.secrets import hide, without_secrets

_TRACKERS = {"wandb": "wandb", "tensorboard": "tensorboard", "trackio": "trackio"}
_UPLOAD_KEYS = tuple(
    f"hub_{name}" for name in ("token", "model_id", "strategy", "private_repo", "always_push", "revision")
)
"""What `upload` reads. Trainer itself uploads nothing, and receives none of it."""

_NO_TRACKER = ("none", "all", None)


def check_trackers(cfg: Config) -> None:
    """Raise `ConfigError` if a tracker of `train.report_to` is unknown or not installed; the error names the extra."""
    names = cfg.train.get("report_to")
    for name in names if isinstance(names, list) else [names]:
        if name in _NO_TRACKER:
            continue
        if name not in _TRACKERS:
            known = ", ".join((*_TRACKERS, "none"))
            raise ConfigError(f"train.report_to: got {name!r}; must be one of {known}")
        if importlib.util.find_spec(_TRACKERS[name]) is None:
            raise ConfigError(
                f"train.report_to: {name} is not installed; run `uv sync --extra {name}` or set train.report_to=none"
            )


def training_arguments(cfg: Config, *, folder: Path) -> Any:
    """Return the `transformers.TrainingArguments` of a run that writes into `folder`.

    Raises `ConfigError` if they contradict each other.
    """
    import torch
    from transformers import TrainingArguments

    values = {key: value for key, value in cfg.train.items() if key not in (*OWN_TRAIN_KEYS, *_UPLOAD_KEYS)}
    values |= {"push_to_hub": False, "hub_strategy": "end"}
    values |= {"hub_private_repo": cfg.train.get("hub_private_repo") is not False}  # a tracker may read it
    values |= best_model_arguments(cfg.train)
    values |= {"output_dir": str(folder), "resume_from_checkpoint": None, "logging_nan_inf_filter": False}
    values["restore_callback_states_from_checkpoint"] = True
    if cfg.train.get("max_tokens_per_batch") is not None:
        values["per_device_train_batch_size"] = 1  # an example is a whole batch
    values.setdefault("run_name", cfg.output_dir.name)
    values.setdefault("dataloader_pin_memory", torch.cuda.is_available())
    ratio = cfg.train.get("warmup_ratio")
    if ratio and not cfg.train.get("warmup_steps"):
        # Below 1, transformers reads a share of all steps; exactly 1 would be one step.
        values["warmup_steps"] = min(float(ratio), 1 - 1e-9)
    try:
        arguments = TrainingArguments(**values)
    except (ValueError, TypeError, ImportError, NotImplementedError) as error:
        raise ConfigError(hide(f"train: {str(error).strip().splitlines()[0]}")) from error
    if arguments.n_gpu > 1:
        raise ConfigError(
            f"{arguments.n_gpu} GPUs are visible to one process; start one process per GPU with "
            "`accelerate launch -m trainer train …`, or choose one with CUDA_VISIBLE_DEVICES"
        )
    return arguments


def resolved_config(cfg: Config, arguments: Any) -> Config:
    """Return the configuration with a value for every key of TrainingArguments, but without secrets."""
    values = {key: value for key, value in arguments.to_dict().items() if key in training_argument_types()}
    own = {key: value for key, value in cfg.train.items() if key != "resume_from_checkpoint"}
    values.pop("resume_from_checkpoint", None)
    return cfg.model_copy(update={"train": without_secrets({**values, **own})})
