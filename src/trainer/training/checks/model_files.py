"""Check the files of a base model without loading it: its config.json, its weights, its layers. Imports no torch."""

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from trainer.run_layout import ADAPTER_CONFIG, MODEL_CONFIG
from trainer.training.checks.safetensors_files import read_header

WEIGHTS = "model.safetensors"
INDEX = "model.safetensors.index.json"
_PICKLED = ("pytorch_model.bin", "pytorch_model.bin.index.json")
_LAYER = re.compile(r"((?:model\.|language_model\.|transformer\.|gpt_neox\.)*(?:layers|h|blocks))\.(\d+)\.")
_N_LAYERS = ("num_hidden_layers", "n_layer", "num_layers", "n_layers")
_N_SHOWN = 5
_AGAIN = "download the model again"


@dataclass(frozen=True, slots=True)
class ModelFiles:
    """What is known of a model's files: its configuration, its tensors by name, and what is wrong with them."""

    config: Mapping[str, Any] = field(default_factory=dict)
    shapes: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    problems: tuple[str, ...] = ()

    def setting(self, *names: str) -> Any:
        """Return a value of config.json, of the text model's part if there is one; None if it is not there."""
        text = self.config.get("text_config")
        for place in (text if isinstance(text, Mapping) else {}, self.config):
            for name in names:
                if name in place:
                    return place[name]
        return None


def read_model_files(folder: Path, *, complete: bool = True) -> ModelFiles:
    """Read what the files of a model's folder say, and what is wrong with them.

    `complete` is false for a cached copy of a hub model, of which the hub has the files that are missing.
    """
    problems: list[str] = []
    config = _read_config(folder, problems) if complete or (folder / MODEL_CONFIG).exists() else {}
    shapes: dict[str, tuple[int, ...]] = {}
    files, expected = _weight_files(folder, problems, complete=complete)
    for path in files:
        header = read_header(path)
        shapes |= header.shapes
        if header.problem is not None:
            problems.append(f"{path} {header.problem}; {_AGAIN}")
    absent = sorted(expected - set(shapes))
    if absent and not problems and len(files) and complete:
        problems.append(f"{folder / INDEX} lists tensors that no file holds: {_some(absent)}; {_AGAIN}")
    found = ModelFiles(config, shapes, tuple(problems))
    missing = () if problems or not complete else tuple(_missing_layers(found, folder))
    return ModelFiles(config, shapes, (*problems, *missing))


def _read_config(folder: Path, problems: list[str]) -> Mapping[str, Any]:
    path = folder / MODEL_CONFIG
    if not path.is_file():
        if (folder / ADAPTER_CONFIG).is_file():
            problems.append(
                f"{folder} holds an adapter, not a model; name its base model, or merge it first with `tool-sft merge`"
            )
        else:
            problems.append(f"{folder} has no {MODEL_CONFIG}; name the folder of a model in the form of transformers")
        return {}
    config = _read_json(path, problems)
    if config and not config.get("model_type"):
        problems.append(f"{path} names no model_type, so its architecture is unknown; {_AGAIN}")
    return config


def _read_json(path: Path, problems: list[str]) -> Mapping[str, Any]:
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        problems.append(f"{path} is not readable JSON ({reason}); {_AGAIN}")
        return {}
    if not isinstance(value, dict) or not value:
        problems.append(f"{path} must hold a JSON object; {_AGAIN}")
        return {}
    return value


def _weight_files(folder: Path, problems: list[str], *, complete: bool) -> tuple[list[Path], set[str]]:
    """The weight files that transformers reads, and the tensors that an index promises. One file comes before parts."""
    single, index = folder / WEIGHTS, folder / INDEX
    if single.exists():
        return [single], set()
    if index.exists():
        listed = _read_json(index, problems).get("weight_map")
        if not isinstance(listed, dict) or not listed:
            if not problems:
                problems.append(f"{index} has no weight_map; {_AGAIN}")
            return [], set()
        paths = [folder / str(name) for name in sorted(set(map(str, listed.values())))]
        lacking = [path.name for path in paths if not path.exists()]
        if lacking and complete:
            problems.append(f"{folder} lacks {len(lacking)} of {len(paths)} weight files: {_some(lacking)}; {_AGAIN}")
        return [path for path in paths if path.exists()], set() if lacking else set(listed)
    if complete and (folder / MODEL_CONFIG).exists():
        pickled = next((name for name in _PICKLED if (folder / name).exists()), None)
        if pickled is not None:
            problems.append(
                f"{folder} has its weights only as {pickled}, which can run code when it is read; load it once with "
                "transformers where you trust it, and write it with save_pretrained, which makes safetensors"
            )
        else:
            problems.append(f"{folder} has no weights ({WEIGHTS} or {INDEX}); {_AGAIN}")
    return [], set()


def _missing_layers(files: ModelFiles, folder: Path) -> Iterator[str]:
    promised = files.setting(*_N_LAYERS)
    numbers: dict[str, set[int]] = {}
    for name in files.shapes:
        found = _LAYER.match(name)
        if found is not None:
            numbers.setdefault(found[1], set()).add(int(found[2]))
    if not isinstance(promised, int) or not numbers:
        return
    present = max(numbers.values(), key=len)
    last = max(present)
    if last < promised - 1:
        missing = f"{last + 1}" if last + 2 == promised else f"{last + 1} to {promised - 1}"
        yield (
            f"{folder} has weights for layers 0 to {last}, but its {MODEL_CONFIG} promises {promised} layers; "
            f"missing: {missing}. {_AGAIN[0].upper()}{_AGAIN[1:]}"
        )


def _some(names: list[str]) -> str:
    return ", ".join(names[:_N_SHOWN]) + (", …" if len(names) > _N_SHOWN else "")
