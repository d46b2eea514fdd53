"""The range of every number of `train`. Compares no two keys."""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from trainer.config.problems import Problem

_INFINITE = float("inf")
_LARGEST_SEED = 2**32 - 1  # NumPy's limit


@dataclass(frozen=True, slots=True)
class Range:
    """What a number may be, in numbers and, if that is not plain, in words; `remedy` completes the message."""

    low: float
    high: float = _INFINITE
    above: bool = False
    below: bool = False
    words: str = ""
    remedy: str = ""
    others: tuple[float, ...] = ()

    def has(self, value: float) -> bool:
        """Whether a number is in the range, and finite."""
        if value in self.others:
            return True
        if not math.isfinite(value):
            return False
        return (value > self.low if self.above else value >= self.low) and (
            value < self.high if self.below else value <= self.high
        )

    def requirement(self) -> str:
        """Return what a number must be, and what to do."""
        low = f"above {self.low:g}" if self.above else f"at least {self.low:g}"
        high = "" if self.high == _INFINITE else f"{'below' if self.below else 'at most'} {self.high:g}"
        text = self.words or " and ".join(part for part in (low, high) if part)
        return f"must be {text}{'; ' if self.remedy else ''}{self.remedy}"


_SHARE_OR_COUNT = "above 0: a share of all steps (below 1), or a whole number of steps"

RANGES: Mapping[str, Range] = {
    "per_device_train_batch_size": Range(1, remedy="lower data.max_context_length if even one row does not fit"),
    "per_device_eval_batch_size": Range(1, remedy="remove the key for the default"),
    "gradient_accumulation_steps": Range(1, remedy="1 makes an optimizer step after every batch"),
    "num_train_epochs": Range(0, above=True, remedy="use train.max_steps for a short trial"),
    "max_steps": Range(1, words="at least 1, or -1 to train for train.num_train_epochs", others=(-1, 0)),
    "learning_rate": Range(0, 10, above=True, remedy="LoRA usually takes 1e-5 to 1e-3"),
    "weight_decay": Range(0, remedy="0 turns it off"),
    "adam_beta1": Range(0, 1, below=True, remedy="the usual value is 0.9"),
    "adam_beta2": Range(0, 1, below=True, remedy="the usual value is 0.999"),
    "adam_epsilon": Range(0, 1, above=True, remedy="the usual value is 1e-8"),
    "max_grad_norm": Range(0, remedy="0 turns clipping off"),
    "label_smoothing_factor": Range(0, 1, below=True, remedy="0 turns it off"),
    "warmup_ratio": Range(0, 1, remedy="it is a share of all steps"),
    "neftune_noise_alpha": Range(0, remedy="remove the key to turn it off"),
    "torch_empty_cache_steps": Range(1, remedy="remove the key to never empty the cache"),
    "eval_delay": Range(0, remedy="it is a number of epochs or steps, as train.eval_strategy counts"),
    "save_total_limit": Range(1, remedy="remove the key to keep all checkpoints"),
    "dataloader_num_workers": Range(0, remedy="0 loads rows in the main process"),
    "dataloader_prefetch_factor": Range(1, remedy="remove the key for the default"),
    "seed": Range(0, _LARGEST_SEED, words=f"from 0 to {_LARGEST_SEED}", remedy="the default is 42"),
    "data_seed": Range(0, _LARGEST_SEED, words=f"from 0 to {_LARGEST_SEED}", remedy="remove the key to use train.seed"),
    "ddp_bucket_cap_mb": Range(1, remedy="remove the key for torch's default"),
    "ddp_timeout": Range(1, remedy="it is in seconds; the default is 1800"),
}
"""The keys that have a range. `warmup_steps` and the intervals are shares or counts and have rules of their own."""

INTERVALS = {"logging_steps": "logging_strategy", "eval_steps": "eval_strategy", "save_steps": "save_strategy"}
"""The keys that say how many steps are between two events, each with the key that turns it on."""


def number_problems(train: Mapping[str, Any]) -> Iterator[Problem]:
    """Yield one problem for each number that is out of its range, infinite or not a number."""
    for key, value in train.items():
        if isinstance(value, bool) or not isinstance(value, int | float):
            continue
        if key in RANGES:
            if not RANGES[key].has(value):
                yield Problem(f"train.{key}", f"got {value:g}; {RANGES[key].requirement()}")
        elif not math.isfinite(value):
            yield Problem(f"train.{key}", f"got {value:g}; must be a finite number")
        elif key in INTERVALS and (value < 0 or (_is_on(train, key) and not _is_interval(value))):
            yield Problem(f"train.{key}", f"got {value:g}; must be {_SHARE_OR_COUNT}")
        elif key == "warmup_steps" and not (value == 0 or _is_interval(value)):
            yield Problem("train.warmup_steps", f"got {value:g}; must be 0 (no warm-up), or {_SHARE_OR_COUNT}")


def _is_interval(value: float) -> bool:
    return value > 0 and (value < 1 or value == int(value))


def _is_on(train: Mapping[str, Any], key: str) -> bool:
    default = "no" if key == "eval_steps" else "steps"
    return bool(train.get(INTERVALS[key], default) == "steps")
