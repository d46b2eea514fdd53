"""Find the modules that an adapter may change: those that read or write text. Loads no model and makes no adapter.

A model that also takes images or sound has towers and projectors for them. Their modules often have the names of the
language model's (`q_proj`), but rows hold text only, so an adapter there would get no gradient.
"""

import re
from collections.abc import Iterator, Sequence

from torch import nn
from transformers import PreTrainedModel

from trainer.config.rules.targets import ALL_LINEAR, matches
from trainer.errors import ModelError

_MAMBA_MODELS = ("falcon_h1", "falcon_mamba", "mamba", "mamba2", "nemotron_h")  # as peft has them
_READ_BY_KERNELS = ("out_proj", "conv1d")


def check_target_modules(model: nn.Module, targets: Sequence[str] | str) -> None:
    """Check that every name in a list of targets matches the end of some text module's name; peft ignores other names.

    None of them may mean an output head that shares its weights with the embedding: neither could be merged alone.
    A string is `all-linear` or a regular expression for whole names. Raises `ModelError`.
    """
    if targets == ALL_LINEAR:
        return
    _refuse_tied(model, targets)
    outside = other_parts(model)
    names = [name for name, _ in model.named_modules() if name]
    text_names = [name for name in names if not _is_in(name, outside)]
    missing = [target for target in _each(targets) if not any(matches(target, name) for name in text_names)]
    if missing:
        linear = {name.rpartition(".")[2] for name, m in _linear(model) if not _is_in(name, outside)}
        elsewhere = any(matches(target, name) for target in missing for name in names)
        reason = f" outside {', '.join(outside)}" if elsewhere else ""
        shown = ", ".join(target if isinstance(target, str) else target.pattern for target in missing)
        raise ModelError(
            f"lora.target_modules: no module{reason} is named {shown}; "
            f"linear modules of this model: {', '.join(sorted(linear))}"
        )


def _refuse_tied(model: nn.Module, targets: Sequence[str] | str) -> None:
    if not isinstance(model, PreTrainedModel):
        return
    head, embedding = model.get_output_embeddings(), model.get_input_embeddings()
    if head is None or embedding is None or getattr(head, "weight", None) is not getattr(embedding, "weight", head):
        return
    tied = [name for name, module in model.named_modules() if module is head or module is embedding]
    hit = [name for name in tied if any(matches(target, name) for target in _each(targets))]
    if hit:
        raise ModelError(
            f"lora.target_modules: {' and '.join(tied)} share one weight in this model, so an adapter on "
            f"{' and '.join(hit)} cannot be merged or served; leave it out of the targets"
        )


def excluded_modules(model: nn.Module, targets: Sequence[str] | str) -> str | None:
    """The regular expression, for peft's `exclude_modules`, of what a target means but an adapter cannot change.

    These are parts that do not belong to the language model, and, unless a target names them, those modules of Mamba
    layers that peft refuses, because a kernel reads their weights past the adapter. None if there are none. Raises
    `ModelError` if a target is not a regular expression.
    """
    if targets == ALL_LINEAR:
        found = [name for name, _ in _linear(model)]
    else:
        wanted = _each(targets)
        found = [name for name, _ in model.named_modules() if any(matches(target, name) for target in wanted)]
    parts = [part for part in other_parts(model) if any(_is_in(name, [part]) for name in found)]
    excluded = [rf"({'|'.join(map(re.escape, parts))})(\..*)?"] if parts else []
    names_them = not isinstance(targets, str) or any(name in targets for name in _READ_BY_KERNELS)
    if not names_them and getattr(model.config, "model_type", None) in _MAMBA_MODELS:
        excluded += [rf".*\.({'|'.join(_READ_BY_KERNELS)})"]
    return "|".join(excluded) or None


def other_parts(model: nn.Module) -> list[str]:
    """Names of the outermost modules that do not belong to the language model: towers for images or sound, projectors.

    They are found by the configuration of each sub-model, not by name. Empty if the model takes only text.
    """
    if not isinstance(model, PreTrainedModel):
        return []
    text = model.config.get_text_config()
    if text is model.config:
        ends = [model.get_input_embeddings(), model.get_output_embeddings()]
        return list(_around(model, _towers(model), kept=[module for module in ends if module is not None]))
    kind = type(text)
    roots: list[nn.Module] = [m for m in model.modules() if isinstance(m, PreTrainedModel) and type(m.config) is kind]
    if not roots and model.get_decoder() is not model:
        roots = [model.get_decoder()]
    head = model.get_output_embeddings()
    return list(_beside(model, [*roots, *([head] if head is not None else [])])) if roots else []


def _towers(model: PreTrainedModel) -> list[nn.Module]:
    """Sub-models with a configuration of their own, in a model whose own configuration is that of the text."""
    kinds = {type(getattr(model.config, name, None)) for name in model.config.sub_configs} - {type(model.config)}
    return [m for m in model.modules() if isinstance(m, PreTrainedModel) and type(m.config) in kinds]


def _around(module: nn.Module, towers: list[nn.Module], *, kept: list[nn.Module], prefix: str = "") -> Iterator[str]:
    """Yield the outermost modules that hold a tower and none of the modules to keep."""
    for name, child in module.named_children():
        within = list(child.modules())
        if any(tower is m for tower in towers for m in within):
            if any(module is m for module in kept for m in within):
                yield from _around(child, towers, kept=kept, prefix=f"{prefix}{name}.")
            else:
                yield prefix + name


def _beside(module: nn.Module, roots: list[nn.Module], prefix: str = "") -> Iterator[str]:
    """Yield the outermost modules that are not in a root and hold none."""
    for name, child in module.named_children():
        if any(child is root for root in roots):
            continue
        if any(m is root for m in child.modules() for root in roots):
            yield from _beside(child, roots, f"{prefix}{name}.")
        else:
            yield prefix + name


def _is_in(name: str, parts: Sequence[str]) -> bool:
    return any(name == part or name.startswith(f"{part}.") for part in parts)


def _linear(model: nn.Module) -> Iterator[tuple[str, nn.Linear]]:
    return ((name, module) for name, module in model.named_modules() if isinstance(module, nn.Linear))


def _each(targets: Sequence[str] | str) -> list[str | re.Pattern[str]]:
    """The targets one by one; a regular expression is compiled."""
    if not isinstance(targets, str):
        return list(targets)
    try:
        return [re.compile(targets)]
    except re.error as error:
        raise ModelError(f"lora.target_modules: {targets} is not a regular expression: {error}") from error
