"""Keys of `train` that contradict each other, or of which one has no effect without the other. Checks no single key."""

import math
from collections.abc import Iterator, Mapping
from typing import Any

from trainer.config.problems import Problem
from trainer.config.training_keys import training_argument_defaults

_NEEDS_EVALUATION = ("reduce_lr_on_plateau", "greedy")
_LOW_RANK = ("galore", "apollo")


class _Train(dict[str, Any]):
    """The keys of `train`, with the defaults of TrainingArguments for those that are not set."""

    def __missing__(self, key: str) -> Any:
        return training_argument_defaults().get(key)


def combination_problems(given: Mapping[str, Any]) -> Iterator[Problem]:
    """Yield one problem for each combination of keys that cannot train, or that ignores one of them."""
    train = _Train(given)
    yield from _precision(train)
    yield from _warmup(train)
    yield from _best_model(train)
    yield from _evaluation(train)
    yield from _loading(train)
    yield from _token_budget(train)
    yield from _optimizer(train)
    yield from _scaling(train)
    if train["push_to_hub"] and not train["hub_model_id"]:
        yield Problem("train.hub_model_id", "missing; train.push_to_hub needs the repository's name: owner/name")
    if train["save_only_model"] and train["resume_from_checkpoint"]:
        text = "checkpoints without optimizer state cannot be resumed; remove it, or train.resume_from_checkpoint"
        yield Problem("train.save_only_model", text)


def _precision(train: _Train) -> Iterator[Problem]:
    if train["bf16"] and train["fp16"]:
        yield Problem("train.fp16", "set together with train.bf16; keep one of them (bf16 if the GPU supports it)")
    if train["gradient_checkpointing_kwargs"] and not train["gradient_checkpointing"]:
        text = "has no effect without train.gradient_checkpointing; set that to true, or remove this"
        yield Problem("train.gradient_checkpointing_kwargs", text)
    if not train["torch_compile"]:
        for key in ("torch_compile_backend", "torch_compile_mode"):
            if train[key] and "torch_compile" in train:
                yield Problem(f"train.{key}", "would compile although train.torch_compile is false; remove one of them")
    if train["liger_kernel_config"] and not train["use_liger_kernel"]:
        yield Problem("train.liger_kernel_config", "has no effect without train.use_liger_kernel; set that to true")


def _warmup(train: _Train) -> Iterator[Problem]:
    ratio, steps, name = train.get("warmup_ratio") or 0, train["warmup_steps"] or 0, train["lr_scheduler_type"]
    if ratio and steps and not math.isclose(ratio, steps, rel_tol=1e-6):  # a run's resolved configuration has both
        yield Problem("train.warmup_steps", f"got {steps:g} beside train.warmup_ratio {ratio:g}; keep one of them")
    if (ratio or steps) and name == "constant":
        key = "train.warmup_ratio" if ratio else "train.warmup_steps"
        text = "the schedule constant has no warm-up; set train.lr_scheduler_type to constant_with_warmup"
        yield Problem(key, text)
    last = train["max_steps"]
    if last > 0 and steps >= 1 and steps >= last:
        text = f"got {steps:g}, but training ends after train.max_steps={last}; give less than {last}"
        yield Problem("train.warmup_steps", text)


def _best_model(train: _Train) -> Iterator[Problem]:
    saving, judging = train["save_strategy"], train["eval_strategy"]
    if saving == "best" and judging == "no":
        text = "best needs evaluations during training; set train.eval_strategy to steps or epoch"
        yield Problem("train.save_strategy", text)
    if not train["load_best_model_at_end"] or saving == "best":
        return
    if judging == "no" or saving == "no":
        key = "train.eval_strategy" if judging == "no" else "train.save_strategy"
        yield Problem(
            key, "got no, but train.load_best_model_at_end needs evaluations and checkpoints; set both to steps"
        )
    elif saving != judging:
        text = (
            f"got {saving}, but train.load_best_model_at_end needs the train.eval_strategy, {judging}; set both alike"
        )
        yield Problem("train.save_strategy", text)
    elif saving == "steps":
        yield from _best_steps(train)


def _best_steps(train: _Train) -> Iterator[Problem]:
    every, judged = train["save_steps"], train["eval_steps"] or train["logging_steps"]
    if not (0 < every < math.inf and 0 < judged < math.inf):  # reported by the rules on numbers
        return
    if (every < 1) != (judged < 1):
        text = f"got {every:g}, but train.eval_steps is {judged:g}; give both as a share or both as a number of steps"
        yield Problem("train.save_steps", text)
    elif round(every * 1_000_000) % round(judged * 1_000_000):
        text = (
            f"got {every:g}, which is not a multiple of train.eval_steps ({judged:g}); train.load_best_model_at_end "
            "needs an evaluation of every checkpoint"
        )
        yield Problem("train.save_steps", text)
    elif 0 < train["max_steps"] < every:
        text = f"got {every:g}, so no checkpoint is saved within train.max_steps={train['max_steps']}; give less"
        yield Problem("train.save_steps", text)


def _evaluation(train: _Train) -> Iterator[Problem]:
    name = train["lr_scheduler_type"]
    if name in _NEEDS_EVALUATION and train["eval_strategy"] == "no":
        text = f"{name} needs evaluations during training; set train.eval_strategy to steps or epoch"
        yield Problem("train.lr_scheduler_type", text)


def _loading(train: _Train) -> Iterator[Problem]:
    if train["dataloader_num_workers"] == 0:
        for key in ("dataloader_prefetch_factor", "dataloader_persistent_workers"):
            if train[key]:
                text = "needs worker processes; set train.dataloader_num_workers to at least 1, or remove this"
                yield Problem(f"train.{key}", text)


def _token_budget(train: _Train) -> Iterator[Problem]:
    if train.get("max_tokens_per_batch") is None:
        return
    if train.get("per_device_train_batch_size", 1) != 1:  # a run's resolved configuration has 1
        text = "set together with train.per_device_train_batch_size, which counts rows; keep one of them"
        yield Problem("train.max_tokens_per_batch", text)
    if train.get("packing", "auto") is False:
        yield Problem("train.max_tokens_per_batch", "needs packed rows; set train.packing to auto, or remove this")


def _optimizer(train: _Train) -> Iterator[Problem]:
    name = str(train["optim"] or "")
    if name.startswith(_LOW_RANK) and not train["optim_target_modules"]:
        yield Problem("train.optim_target_modules", f"missing; {name} needs the modules to project, such as all-linear")
    if name.endswith("layerwise") and train["gradient_accumulation_steps"] > 1:
        text = f"got {train['gradient_accumulation_steps']}, but {name} updates after every batch; set it to 1"
        yield Problem("train.gradient_accumulation_steps", text)


def _scaling(train: _Train) -> Iterator[Problem]:
    if train["deepspeed"] and train["fsdp"]:
        yield Problem("train.fsdp", "set together with train.deepspeed; both shard the model, so keep one of them")
    if train["auto_find_batch_size"] and (train["deepspeed"] or train["fsdp"]):
        text = (
            "changes the batch size of one process only, which train.deepspeed and train.fsdp cannot follow; remove it"
        )
        yield Problem("train.auto_find_batch_size", text)
