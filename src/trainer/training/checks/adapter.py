"""Check the adapter's settings against the base model's tensor names. Imports no torch.

The names of tensors are not always the names of modules, so names that no tensor has are left to the check of the
empty model (`trainer.training.checks.empty_model`).
"""

import logging
import re
from collections.abc import Iterator
from functools import cache

from trainer.config.problems import Problem
from trainer.config.rules.targets import ALL_LINEAR, EMBEDDINGS, HEADS, matches, target_problems
from trainer.config.schema import LoraConfig
from trainer.errors import ModelError
from trainer.training.checks.model_files import ModelFiles

logger = logging.getLogger(__name__)

_KEY = "lora.target_modules"


def adapter_problems(lora: LoraConfig, files: ModelFiles) -> Iterator[Problem]:
    """Yield why an adapter could not be trained or merged; warn of one that servers may refuse."""
    problems = list(target_problems(lora.target_modules))
    yield from problems
    if lora.bias != "none":
        warn_once(f"lora.bias: vLLM serves no adapter with trained biases ({lora.bias}); merge it (`tool-sft merge`)")
    if problems:
        return
    hit = _ends(lora, files)
    if not hit:
        return
    if _is_tied(files):
        text = (
            f"{', '.join(hit)}: this model's output head and embedding share one weight, so an adapter on it cannot be "
            "merged or served; leave it out of the targets"
        )
        yield Problem(_KEY, text, ModelError)
    else:
        warn_once(
            f"{_KEY}: an adapter on {', '.join(hit)} is large, and servers may refuse it; leave it out unless the "
            "vocabulary changes"
        )


@cache
def warn_once(line: str) -> None:
    """Log a warning; the same line only once in a process, because a run is checked several times."""
    logger.warning("%s", line)


def targeted_weights(lora: LoraConfig, files: ModelFiles) -> dict[str, tuple[int, ...]]:
    """Return the matrices that the targets mean, by module name, with their shapes [out, in]."""
    modules = {name.removesuffix(".weight"): s for name, s in files.shapes.items() if len(s) == 2}
    modules = {name: s for name, s in modules.items() if f"{name}.weight" in files.shapes}
    if lora.target_modules == ALL_LINEAR:
        return {name: s for name, s in modules.items() if name.rpartition(".")[2] not in (*HEADS, *EMBEDDINGS)}
    targets = _compiled(lora)
    return {name: s for name, s in modules.items() if any(matches(target, name) for target in targets)}


def _compiled(lora: LoraConfig) -> list[str | re.Pattern[str]]:
    given = lora.target_modules
    return [re.compile(given)] if isinstance(given, str) else list(given)


def _ends(lora: LoraConfig, files: ModelFiles) -> list[str]:
    """The targets that mean the output head or the embedding."""
    if lora.target_modules == ALL_LINEAR:
        return []
    names = {*HEADS[:1], *EMBEDDINGS, *(name.rpartition(".weight")[0] for name in files.shapes)}
    ends = [name for name in names if name.rpartition(".")[2] in (HEADS[0], *EMBEDDINGS)]
    targets = _compiled(lora)
    return sorted({name.rpartition(".")[2] for name in ends if any(matches(target, name) for target in targets)})


def _is_tied(files: ModelFiles) -> bool:
    tied = files.setting("tie_word_embeddings")
    return bool(tied) if tied is not None else bool(files.shapes) and not any("lm_head" in n for n in files.shapes)
