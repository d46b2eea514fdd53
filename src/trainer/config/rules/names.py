"""The names that keys of `train` and `model` may have: optimizers, schedules, strategies. Loads nothing."""

from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from typing import Any

from trainer.config.problems import Problem, nearest
from trainer.config.training_keys import enumeration_members, scheduler_options, training_argument_choices

_ENUMERATIONS = {
    "optim": ("training_args", "OptimizerNames"),
    "lr_scheduler_type": ("trainer_utils", "SchedulerType"),
    "eval_strategy": ("trainer_utils", "IntervalStrategy"),
    "logging_strategy": ("trainer_utils", "IntervalStrategy"),
    "save_strategy": ("trainer_utils", "SaveStrategy"),
    "hub_strategy": ("trainer_utils", "HubStrategy"),
    "debug": ("debug_utils", "DebugOption"),
}
_CHOICES = ("train_sampling_strategy", "ddp_backend", "dataloader_multiprocessing_context")
_LOG_LEVELS = ("detail", "debug", "info", "warning", "error", "critical", "passive")
_FIXED = {
    "log_level": _LOG_LEVELS,
    "log_level_replica": _LOG_LEVELS,
    "include_num_input_tokens_seen": ("all", "non_padding", "no"),
    "torch_compile_mode": ("default", "reduce-overhead", "max-autotune", "max-autotune-no-cudagraphs"),
}
_ATTENTION = ("eager", "sdpa", "flex_attention", "flash_attention_2", "flash_attention_3", "flash_attention_4")


@cache
def known_names() -> Mapping[str, tuple[str, ...]]:
    """Each key of `train` whose values are names, and the names that the installed transformers knows."""
    listed = {key: enumeration_members(module, name) for key, (module, name) in _ENUMERATIONS.items()}
    return {**listed, **{key: training_argument_choices(key) for key in _CHOICES}, **_FIXED}


def name_problems(train: Mapping[str, Any]) -> Iterator[Problem]:
    """Yield one problem for each name that transformers does not know, with the nearest that it knows."""
    for key, known in known_names().items():
        for value in _each(train.get(key)):
            if value not in known:
                yield Problem(f"train.{key}", f"got {value!r}; {nearest(value, known)}")
    yield from _schedule_problems(train)
    text = train.get("optim_args")
    if isinstance(text, str) and text and not all(part.count("=") == 1 for part in text.split(",")):
        yield Problem("train.optim_args", f"got {text!r}; must have the form name=value,name=value")


def attention_problems(name: str | None) -> Iterator[Problem]:
    """Yield a problem if there is no such attention implementation. A name with a slash is a kernel of the hub."""
    if name is not None and "/" not in name and name.removeprefix("paged|") not in _ATTENTION:
        yield Problem("model.attn_implementation", f"got {name!r}; {nearest(name, _ATTENTION)}")


def _schedule_problems(train: Mapping[str, Any]) -> Iterator[Problem]:
    """Yield what `lr_scheduler_kwargs` has that the schedule does not take, and what it lacks."""
    name, given = train.get("lr_scheduler_type", "linear"), train.get("lr_scheduler_kwargs")
    options = scheduler_options().get(name)
    if isinstance(given, str):
        if given and not given.startswith("{"):
            yield Problem("train.lr_scheduler_kwargs", f"got {given!r}; must be a mapping such as {{num_cycles: 1}}")
        return
    given = given or {}
    if options is not None:
        for key in given:
            if key not in options:
                hint = nearest(key, options) if options else f"{name} takes no options; remove it"
                yield Problem("train.lr_scheduler_kwargs", f"the schedule {name} has no option {key!r}; {hint}")
    if str(name).endswith("with_min_lr") and not {"min_lr", "min_lr_rate"} & set(given):
        yield Problem("train.lr_scheduler_kwargs", f"the schedule {name} needs a lowest rate; set {{min_lr_rate: 0.1}}")
    if name == "warmup_stable_decay" and "num_decay_steps" not in given:
        text = f"the schedule {name} needs the length of its decay; set {{num_decay_steps: 100}}"
        yield Problem("train.lr_scheduler_kwargs", text)


def _each(value: Any) -> Sequence[str]:
    """The names of a value: several for `debug`, none if the key is not set."""
    if isinstance(value, list):
        return [str(one) for one in value]
    return str(value).split(" ") if isinstance(value, str) and value else []
