"""Estimate what the checkpoints of a run need, and refuse a disk that surely has too little. Writes nothing."""

import math
import os
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from trainer.config import Config
from trainer.config.problems import Problem
from trainer.config.training_keys import training_argument_defaults
from trainer.errors import OutputError
from trainer.training.checks.adapter import targeted_weights
from trainer.training.checks.model_files import ModelFiles

_BYTES = 4  # adapters are trained and saved in float32
_N_MOMENTS = 2
_GB = 1e9


class Estimate(NamedTuple):
    """The least that a run writes: the trained numbers, bytes in one checkpoint, and how many checkpoints are kept."""

    n_parameters: int
    checkpoint_bytes: int
    n_checkpoints: int

    @property
    def total_bytes(self) -> int:
        """Return the bytes of all checkpoints and of the final adapter."""
        return self.n_checkpoints * self.checkpoint_bytes + self.n_parameters * _BYTES


def estimate(cfg: Config, files: ModelFiles) -> Estimate:
    """Return the least disk space that the adapter's checkpoints need; nothing if the model's tensors are unknown.

    A rank-r adapter of a matrix [out, in] has r * (out + in) numbers. Adam keeps two moments of each.
    """
    n = sum(cfg.lora.r * sum(shape) for shape in targeted_weights(cfg.lora, files).values())
    keeps_moments = not cfg.train.get("save_only_model") and str(cfg.train.get("optim", "adamw")).startswith("adamw_to")
    copies = 1 + (_N_MOMENTS if keeps_moments and not str(cfg.train.get("optim", "")).endswith("bit") else 0)
    return Estimate(n, n * _BYTES * copies, _n_checkpoints(cfg.train))


def disk_problems(cfg: Config, files: ModelFiles) -> Iterator[Problem]:
    """Yield a problem if the disk of the run folder surely has too little space for the checkpoints."""
    needed = estimate(cfg, files)
    if not needed.n_parameters or cfg.train.get("resume_from_checkpoint"):  # a part of it is there already
        return
    free = shutil.disk_usage(_existing(cfg.output_dir)).free
    if needed.total_bytes > free:
        yield Problem(
            "train.output_dir",
            f"{cfg.output_dir}: an adapter of {needed.n_parameters:,} numbers and "
            f"{needed.n_checkpoints} checkpoints need at least {_size(needed.total_bytes)}, but only "
            f"{_size(free)} are free; choose another disk, or lower train.save_total_limit or lora.r",
            OutputError,
        )


def _n_checkpoints(train: Mapping[str, Any]) -> int:
    """The least number of checkpoints that are on the disk at once; 1 if it depends on the number of rows."""
    defaults = training_argument_defaults()
    values = {key: train.get(key, defaults[key]) for key in ("save_strategy", "save_steps", "max_steps")}
    if values["save_strategy"] == "no":
        return 0
    n = 1
    if values["save_strategy"] == "epoch" and values["max_steps"] <= 0:
        n = math.ceil(train.get("num_train_epochs", defaults["num_train_epochs"]))
    elif values["save_strategy"] == "steps" and 0 < values["save_steps"] < 1:
        n = math.floor(1 / values["save_steps"])
    elif values["save_strategy"] == "steps" and values["max_steps"] > 0 and values["save_steps"] >= 1:
        n = math.ceil(values["max_steps"] / values["save_steps"])
    return min(n, train.get("save_total_limit") or n)


def _existing(path: Path) -> Path:
    absolute = path.absolute()
    return next(place for place in (absolute, *absolute.parents) if os.path.isdir(place))  # noqa: PTH112


def _size(n_bytes: int) -> str:
    return f"{n_bytes / _GB:,.1f} GB" if n_bytes >= _GB / 10 else f"{n_bytes * 1000 / _GB:,.1f} MB"
