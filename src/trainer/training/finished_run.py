"""Read what a finished run folder says about its adapter: configuration, rank, base model. Loads no weights."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from trainer.config import Config, load_config
from trainer.errors import OutputError

_CONFIG, _ADAPTER, _TEMPLATE = "config.resolved.yaml", "adapter_config.json", "chat_template.jinja"


@dataclass(frozen=True, slots=True)
class TrainedRun:
    """A run folder that holds a trained adapter."""

    path: Path
    cfg: Config
    adapter: Mapping[str, Any]

    @property
    def name(self) -> str:
        """The name that the adapter is served under, unless another one is asked for."""
        return self.path.resolve().name

    @property
    def rank(self) -> int:
        """The largest rank of any adapted module."""
        return max([int(self.adapter["r"]), *map(int, (self.adapter.get("rank_pattern") or {}).values())])

    @property
    def template(self) -> Path:
        """The chat template that the adapter was trained with."""
        return self.path / _TEMPLATE


def read_run(path: str | Path) -> TrainedRun:
    """The run in a folder. Raises `OutputError` where the folder holds no finished run, `ConfigError`."""
    folder = Path(path)
    missing = [name for name in (_CONFIG, _ADAPTER, _TEMPLATE) if not (folder / name).is_file()]
    if missing:
        state = f"it has no {', '.join(missing)}" if folder.is_dir() else "there is no such folder"
        raise OutputError(f"{folder}: holds no finished training run ({state}); name a run folder of scripts/train.py")
    try:
        adapter = json.loads((folder / _ADAPTER).read_text(encoding="utf-8"))
    except ValueError as error:
        raise OutputError(f"{folder / _ADAPTER}: is no JSON: {error}") from error
    if not isinstance(adapter, dict) or not isinstance(adapter.get("r"), int):
        raise OutputError(f"{folder / _ADAPTER}: describes no LoRA adapter (it has no rank r)")
    return TrainedRun(folder, load_config(folder / _CONFIG), adapter)
