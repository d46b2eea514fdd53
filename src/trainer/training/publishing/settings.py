"""What a model card shows of a run's data and settings, as rows of text. Counts and numbers only; no names of data."""

from collections.abc import Mapping
from typing import Any

from trainer.config import Config

_TRAIN_KEYS = (
    ("learning_rate", "learning rate"),
    ("lr_scheduler_type", "learning rate schedule"),
    ("warmup_ratio", "warm-up, share of steps"),
    ("weight_decay", "weight decay"),
    ("optim", "optimizer"),
    ("per_device_train_batch_size", "rows per device"),
    ("gradient_accumulation_steps", "gradient accumulation steps"),
    ("seed", "seed"),
)


def data_rows(data: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    """Return label, training split and evaluation split of each count in the `data` of `metrics.json`."""
    train, held_out = data.get("train"), data.get("eval")
    if not isinstance(train, Mapping) or not isinstance(held_out, Mapping):
        return []
    counts = (("sessions", "n_sessions"), ("rows", "n_rows"), ("tokens", "n_tokens"))
    rows = [(label, f"{train.get(key, 0):,}", f"{held_out.get(key, 0):,}") for label, key in counts]
    return [*rows, ("supervised tokens", _share(train), _share(held_out))]


def _share(split: Mapping[str, Any]) -> str:
    n_tokens, n_supervised = split.get("n_tokens") or 0, split.get("n_supervised_tokens") or 0
    return f"{n_supervised / n_tokens:.1%}" if n_tokens else "–"


def setting_rows(cfg: Config, train: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Return label and value of the settings that decide what the adapter has learned.

    `train` is that part of `metrics.json`.
    """
    modules = cfg.lora.target_modules
    rows = [
        ("steps", _steps(cfg, train)),
        *((label, f"{cfg.train[key]}") for key, label in _TRAIN_KEYS if cfg.train.get(key) is not None),
        ("LoRA rank", f"{cfg.lora.r}"),
        ("LoRA alpha", f"{cfg.lora.alpha}"),
        ("LoRA dropout", f"{cfg.lora.dropout:g}"),
        ("adapted modules", modules if isinstance(modules, str) else ", ".join(modules)),
        ("precision of the base model", cfg.model.quantization or cfg.model.torch_dtype),
    ]
    return [(label, f"`{value}`".replace("|", "\\|")) for label, value in rows]


def _steps(cfg: Config, train: Mapping[str, Any]) -> str:
    n_steps, max_steps = train.get("n_steps"), cfg.train.get("max_steps", -1)
    epochs = "" if max_steps and max_steps > 0 else f"{cfg.train.get('num_train_epochs', 3):g} epochs"
    done = f"{n_steps}" if n_steps is not None else f"{max_steps}" if not epochs else ""
    best = f"weights of step {train['best_step']}" if "best_step" in train else ""
    return ", ".join(part for part in (done, epochs, best) if part)
