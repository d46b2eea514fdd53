"""Which module names a LoRA target means, as peft reads it. Imports no torch."""

import re
from collections.abc import Iterator, Sequence

from trainer.config.problems import Problem

ALL_LINEAR = "all-linear"
HEADS = ("lm_head", "embed_out", "output")
EMBEDDINGS = ("embed_tokens", "wte", "embed_in", "word_embeddings", "tok_embeddings")


def matches(target: str | re.Pattern[str], name: str) -> bool:
    """Whether a target means a module: the end of its name, or a regular expression for the whole of it."""
    if isinstance(target, str):
        return name == target or name.endswith(f".{target}")
    return target.fullmatch(name) is not None


def target_problems(targets: Sequence[str] | str) -> Iterator[Problem]:
    """Yield what is wrong with `lora.target_modules` whatever the model is."""
    key = "lora.target_modules"
    remedy = "name linear modules such as [q_proj, v_proj], or all-linear"
    if not targets or (not isinstance(targets, str) and not all(targets)):
        yield Problem(key, f"got {targets!r}, which names no module; {remedy}")
    elif isinstance(targets, str) and targets != ALL_LINEAR:
        try:
            re.compile(targets)
        except re.error as error:
            yield Problem(key, f"got {targets!r}, which is not a regular expression ({error}); {remedy}")
        else:
            if targets.replace("_", "-").lower() == ALL_LINEAR:
                yield Problem(key, f"got {targets!r}; did you mean {ALL_LINEAR}?")
            elif "," in targets and not set("*+?([\\|") & set(targets):
                names = ", ".join(part.strip() for part in targets.split(","))
                yield Problem(key, f"got the text {targets!r}; for several modules, give a list: [{names}]")
