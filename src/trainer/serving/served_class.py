"""Check that vLLM would apply an adapter: its weight names against the class that vLLM loads. Loads no weights.

Training loads the class that transformers has for text generation, and a model that also takes images may then be its
text part alone. vLLM loads the class that the base model's config.json names in `architectures`. If the module names of
the two differ, vLLM finds no module for the adapter's weights and answers as the base model, without an error.
"""

import re
from collections.abc import Sequence
from typing import Any

import torch
import transformers
from safetensors import SafetensorError, safe_open
from transformers import AutoConfig, PreTrainedConfig, PreTrainedModel

from trainer.errors import ModelError, OutputError
from trainer.run_layout import RunLayout
from trainer.training.finished_run import FinishedRun

_FUSED_EXPERT_CLASSES = frozenset(
    {
        "GptOssForCausalLM",
        "InternS1ProForConditionalGeneration",
        "Qwen3_5MoeForConditionalGeneration",
        "Qwen3OmniMoeThinkerForConditionalGeneration",
        "Qwen3VLMoeForConditionalGeneration",
    }
)
"""The classes for which vLLM 0.32 takes one adapter for all the experts of a layer; it refuses that for the others."""

_REMEDY = "merge it with `tool-sft merge` and serve it with --merged"
_WEIGHT = re.compile(
    r"^base_model\.model\.(?P<module>.+?)(?:\.base_layer)*\.lora_(?:A|B|embedding_A|embedding_B)(?:\.|$)"
)
_LAYER = re.compile(r"\.\d+(?=\.|$)")
_FUSED_EXPERTS = re.compile(r"\.experts$")
_N_SHOWN = 2


def refuse_other_class(run: FinishedRun) -> None:
    """Refuse an adapter whose weights vLLM would refuse or ignore because of their names.

    If the class is not one of transformers', or its modules cannot be built without weights, nothing is known and
    nothing is refused. Raises `ModelError`, and `OutputError` if the adapter's weights cannot be read.
    """
    modules = adapted_modules(run)
    config = _base_config(run)
    architecture = next(iter(config.architectures or ()), None)
    if architecture is None:
        return
    experts = [name for name in modules if _FUSED_EXPERTS.search(name)]
    if experts and architecture not in _FUSED_EXPERT_CLASSES:
        raise ModelError(
            f"{run.path}: the adapter has weights for all the experts of a layer together ({experts[0]}), which vLLM "
            f"refuses for a {architecture}; {_REMEDY}"
        )
    known = _module_names(architecture, config)
    unknown = [name for name in modules if _in_any_layer(name) not in known] if known else []
    if unknown:
        trained = _trained_class(config)
        origin = f" was trained on a {trained} and" if trained not in (None, architecture) else ""
        raise ModelError(
            f"{run.path}: the adapter{origin} has weights for {_some(unknown)}, but vLLM loads the base model as "
            f"{architecture}, which has no module of that name, and would answer as if these weights were not there; "
            f"{_REMEDY}"
        )


def adapted_modules(run: FinishedRun) -> list[str]:
    """Return the names of the base model's modules that the adapter changes. Raises `OutputError`."""
    path = RunLayout(run.path).adapter_weights
    try:
        with safe_open(path, framework="pt") as file:
            found = [_WEIGHT.match(key) for key in file.keys()]  # noqa: SIM118 - the file is not a mapping
    except (OSError, SafetensorError) as error:
        raise OutputError(f"{path}: the adapter's weights cannot be read: {error}; train the run again") from error
    return list(dict.fromkeys(match["module"] for match in found if match))


def _base_config(run: FinishedRun) -> PreTrainedConfig:
    place = run.base_place()
    try:
        config: PreTrainedConfig = AutoConfig.from_pretrained(
            place.name, revision=place.revision, trust_remote_code=run.cfg.model.trust_remote_code
        )
    except (OSError, ValueError) as error:
        raise place.failure("configuration", error) from error
    return config


def _module_names(architecture: str, config: PreTrainedConfig) -> frozenset[str]:
    """Return the module names of a class of transformers, without numbers of layers; empty if they are not known."""
    kind = getattr(transformers, architecture, None)
    if not (isinstance(kind, type) and issubclass(kind, PreTrainedModel)):
        return frozenset()
    expected: Any = kind.config_class
    fitting = next((one for one in (config, config.get_text_config()) if isinstance(one, expected)), None)
    try:
        with torch.device("meta"):
            model = kind(expected() if fitting is None else fitting)
    except (RuntimeError, NotImplementedError, ValueError, TypeError, AttributeError, ImportError):
        return frozenset()
    return frozenset(_in_any_layer(name) for name, _ in model.named_modules())


def _in_any_layer(name: str) -> str:
    return _LAYER.sub(".#", name)


def _trained_class(config: PreTrainedConfig) -> str | None:
    """Return the name of the class that training loads for a configuration, if it is known."""
    kind = transformers.MODEL_FOR_CAUSAL_LM_MAPPING.get(type(config), None)
    return kind.__name__ if isinstance(kind, type) else None


def _some(names: Sequence[str]) -> str:
    rest = f" and {len(names) - _N_SHOWN} more modules" if len(names) > _N_SHOWN else ""
    return ", ".join(names[:_N_SHOWN]) + rest
