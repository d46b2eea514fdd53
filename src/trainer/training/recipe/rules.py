"""Choose the settings of a training from its data, model and hardware: `train.recipe: auto`. Measures nothing itself.

What is set by hand stays. docs/recipes.md has the measurements behind the choices, and says which have none yet.
"""

import logging
import math
import re
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, NamedTuple

from trainer.config import Config
from trainer.config.schema import LoraConfig
from trainer.config.training_rules import RECIPE_SCHEDULE
from trainer.data import DatasetBundle
from trainer.data.held_out.sessions import with_held_share
from trainer.kernels.segments import n_shared_by_all
from trainer.training.batches.joined_rows import in_numpy, row_lengths
from trainer.training.checks.empty_model import empty_model
from trainer.training.recipe.facts import Facts

if TYPE_CHECKING:
    from transformers import PretrainedConfig

logger = logging.getLogger(__name__)

SELECTION_KEYS = ("eval_strategy", "save_strategy", "load_best_model_at_end")
"""The keys that choose a checkpoint. The recipe sets them only if none of them is set by hand."""

_EPOCHS = ((1_000, 1), (300, 2), (0, 3))  # from this many trained turns on
_LEARNING_RATES = ((3.0e9, 2e-4), (1.0e9, 5e-4), (3.0e8, 1e-3), (0.0, 3e-3))  # from this many parameters on
_RANKS = ((1_000, 32), (0, 16))  # from this many sessions on
_ROWS_PER_STEP = ((3_200, 16), (1_600, 8), (800, 4), (400, 2), (0, 1))  # from this many sessions in all epochs on
_MOST_ROWS_ON_A_GPU = 4
_FEWEST_LAYERS_TO_SKIP = 8
_SKIPPED_SHARE, _SKIPPED_IF_LONG = 0.2, 0.5  # of the layers
_LONG_SESSION = 3_000  # tokens on average, from which a CPU takes hours for what it does with short sessions
_USABLE_MEMORY = 0.8
_PROJECTION = re.compile(r"\w+_proj")
_WORTH_SHARING = 1 / 3  # of the tokens of a session, from which two at once cost little more than one
_POINTS_OF_A_CURVE = 40  # of the training loss
_MOST_TOKENS_ON_A_CPU = 8_000  # of a batch with sessions of average length


class Choice(NamedTuple):
    """A chosen value and why: `key` is its full name, such as `train.learning_rate`."""

    key: str
    value: Any
    reason: str


def settled(cfg: Config, bundle: DatasetBundle, model_config: "PretrainedConfig", arguments: Any) -> Config:
    """Return the configuration with a value for everything that is chosen from the data, and log the recipe's choices.

    That is the share of held-out sessions, and what the recipe chooses. `arguments` are TrainingArguments.
    """
    held = {example.session_id for example in bundle.selection_examples}
    if cfg.data.selection_share == "auto":
        names = bundle.train_dataset["session_id"] if held else ()
        cfg = with_held_share(cfg, n_held=len(held), n_trained=len(set(names)))
    if cfg.train.get("recipe") != "auto":
        return cfg
    rows = in_numpy(bundle.train_dataset)
    on_cpu = arguments.device.type == "cpu"  # only there does the recipe depend on what is shared
    n_shared = n_shared_by_all(rows[index] for index in range(len(rows))) if on_cpu else 0
    model = empty_model(cfg, model_config)
    facts = Facts.of(bundle.report.train, len(held), model, arguments, n_shared=n_shared)
    if not on_cpu and model is not None:
        facts = facts.with_memory(model, arguments, cfg.model, n_longest=max(row_lengths(bundle.train_dataset)))
    chosen = choices(cfg, facts)
    for choice in chosen:
        logger.info(f"recipe: {choice.key} {choice.value} ({choice.reason})")
    return with_choices(cfg, chosen)


def choices(cfg: Config, facts: Facts) -> list[Choice]:
    """Return what the recipe sets: the values for keys that are not set by hand."""
    if cfg.train.get("recipe") != "auto":
        return []
    return [choice for choice in _all_choices(cfg, facts) if not _is_set(cfg, choice.key)]


def with_choices(cfg: Config, chosen: list[Choice]) -> Config:
    """Return the configuration with the chosen values."""
    train = {key: value for section, key, value in _sections(chosen) if section == "train"}
    lora = {key: value for section, key, value in _sections(chosen) if section == "lora"}
    by_hand = cfg.lora.model_dump(exclude_unset=True)
    return cfg.model_copy(update={"train": {**cfg.train, **train}, "lora": LoraConfig(**{**by_hand, **lora})})


def _sections(chosen: list[Choice]) -> Iterator[tuple[str, str, Any]]:
    for choice in chosen:
        section, _, key = choice.key.partition(".")
        yield section, key, choice.value


def _is_set(cfg: Config, name: str) -> bool:
    section, _, key = name.partition(".")
    return key in (cfg.train if section == "train" else cfg.lora.model_fields_set)


def _all_choices(cfg: Config, facts: Facts) -> Iterator[Choice]:
    sessions, parameters = f"{facts.n_sessions:,} training sessions", f"{facts.n_parameters / 1e6:,.0f}M parameters"
    is_long = not facts.on_gpu and facts.n_tokens >= _LONG_SESSION
    chosen_epochs, reason = _step(_EPOCHS, facts.n_turns), f"{facts.n_turns:,} turns to learn from"
    if is_long and chosen_epochs > 1:
        chosen_epochs = math.ceil(chosen_epochs / 2)
        reason += f", half as often as short sessions: these have {facts.n_tokens:,} tokens, which takes long on a CPU"
    yield Choice("train.num_train_epochs", chosen_epochs, reason)
    epochs = float(cfg.train.get("num_train_epochs", chosen_epochs))
    if facts.n_parameters:
        yield Choice("train.learning_rate", _step(_LEARNING_RATES, facts.n_parameters), parameters)
    yield Choice("train.lr_scheduler_type", RECIPE_SCHEDULE, "ends with small steps")
    if not cfg.train.get("warmup_steps") and cfg.train.get("lr_scheduler_type") != "constant":
        yield Choice("train.warmup_ratio", 0.1, "begins with small steps")
    rank = cfg.lora.r if _is_set(cfg, "lora.r") else _step(_RANKS, facts.n_sessions)
    yield Choice("lora.r", rank, sessions)
    yield Choice("lora.alpha", 2 * rank, "twice the rank")
    if not facts.on_gpu and facts.n_layers >= _FEWEST_LAYERS_TO_SKIP:
        lowest = int(facts.n_layers * (_SKIPPED_IF_LONG if is_long else _SKIPPED_SHARE))
        numbers = "|".join(map(str, range(lowest, facts.n_layers)))
        upper = f"the upper {facts.n_layers - lowest} of {facts.n_layers} layers"
        reason = f"{upper}, where the backward pass can stop, for sessions of {facts.n_tokens:,} tokens"
        names = ".*_proj" if all(map(_PROJECTION.fullmatch, facts.linear)) else rf"(.*\.)?({'|'.join(facts.linear)})"
        yield Choice("lora.target_modules", rf".*\.layers\.({numbers})\.{names}", reason)
    yield from _batch(cfg, facts, epochs)
    yield Choice("train.loss_weighting", "decision", "the tokens that decide whether to call count more")
    is_by_hand = any(key in cfg.train for key in (*SELECTION_KEYS, "max_steps"))
    if not is_by_hand and epochs > 1 and facts.n_held_out:
        reason = "the best epoch is kept, judged on held-out training sessions"
        yield from (Choice(f"train.{key}", "epoch", reason) for key in ("eval_strategy", "save_strategy"))
        yield Choice("train.load_best_model_at_end", True, reason)


def _batch(cfg: Config, facts: Facts, epochs: float) -> Iterator[Choice]:
    if (n_tokens := cfg.train.get("max_tokens_per_batch")) is not None:
        yield from _checkpointing(facts, max(n_tokens, facts.n_longest))
        n_accumulated = int(cfg.train.get("gradient_accumulation_steps", 1))
        per_step = n_tokens * n_accumulated * facts.n_processes
        yield from _logging(cfg, max(1, int(facts.n_sessions * facts.n_tokens * epochs) // per_step))
        return
    n_rows = int(facts.n_sessions * epochs)
    rows = _step(_ROWS_PER_STEP, n_rows)
    if facts.on_gpu:
        at_once, reason = min(rows, _MOST_ROWS_ON_A_GPU), "a GPU takes several at once"
    elif cfg.train.get("packing", "auto") and facts.n_shared > _WORTH_SHARING * facts.n_tokens:
        n_own = max(1, facts.n_tokens - facts.n_shared)
        n_fitting = (_MOST_TOKENS_ON_A_CPU - facts.n_shared) // n_own
        at_once = max(1, min(rows // facts.n_processes, n_fitting))
        reason = f"{facts.n_shared:,} of {facts.n_tokens:,} tokens of a session are shared, if its model can be packed"
    else:
        at_once, reason = 1, "a CPU gains little by more"
    at_once = int(cfg.train.get("per_device_train_batch_size", at_once))
    n_accumulated = max(1, rows // (at_once * facts.n_processes))
    n_accumulated = int(cfg.train.get("gradient_accumulation_steps", n_accumulated))
    rows = at_once * n_accumulated * facts.n_processes
    yield Choice("train.per_device_train_batch_size", at_once, reason)
    yield Choice("train.gradient_accumulation_steps", n_accumulated, f"{rows} of {n_rows:,} sessions per step")
    yield from _checkpointing(facts, at_once * facts.n_longest)
    yield from _logging(cfg, max(1, n_rows // rows))


def _logging(cfg: Config, n_steps: int) -> Iterator[Choice]:
    """Log the loss often enough for a curve, unless evaluations would follow the same number of steps."""
    follows = cfg.train.get("eval_strategy") == "steps" and not cfg.train.get("eval_steps")
    if "logging_strategy" not in cfg.train and not follows:
        n_steps = max(0, int(cfg.train.get("max_steps", 0))) or n_steps
        yield Choice("train.logging_steps", max(1, n_steps // _POINTS_OF_A_CURVE), "for a curve of the loss")


def _checkpointing(facts: Facts, n_tokens: int) -> Iterator[Choice]:
    """Compute layers again in the backward pass if a step with so many tokens would not fit otherwise."""
    needed = facts.n_weight_bytes + n_tokens * facts.bytes_per_token
    if facts.n_bytes and needed > _USABLE_MEMORY * facts.n_bytes:
        reason = f"a step would need about {needed / 1e9:.0f} of {facts.n_bytes / 1e9:.0f} GB without it"
        yield Choice("train.gradient_checkpointing", True, reason)


def _step(table: tuple[tuple[float, Any], ...], size: float) -> Any:
    """The value of the first entry whose limit is reached."""
    return next(value for limit, value in table if size >= limit)
