"""Read a finished run folder: its configuration and the settings of its adapter. Loads no weights."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, Field, StrictInt

from trainer.config import Config, load_config
from trainer.errors import DataError, ModelError, OutputError
from trainer.model_source import ModelPlace, base_model_place
from trainer.run_layout import RunLayout
from trainer.util.records import as_record, read_object

Rank = Annotated[StrictInt, Field(ge=1)]


class _LoraRecord(BaseModel):
    """The ranks in the configuration file of a LoRA adapter."""

    r: Rank
    rank_pattern: dict[str, Rank] | None = None


@dataclass(frozen=True, slots=True)
class FinishedRun:
    """A run folder that holds a trained adapter.

    `cfg` names the base model where it is now. `trained_on` is its name in the run's own configuration
    if it has moved.
    """

    path: Path
    cfg: Config
    adapter: Mapping[str, Any]
    trained_on: str | None = None

    @property
    def name(self) -> str:
        """The name that the adapter is served under by default."""
        return self.path.resolve().name

    @property
    def base_name(self) -> str:
        """The name of the base model in the run's own configuration, which servers offer and clients ask for."""
        return self.trained_on or self.cfg.model.base_model_name

    def base_place(self) -> ModelPlace:
        """Where the base model is. Raises `ModelError`, which names the option that gives another place."""
        try:
            return base_model_place(self.cfg)
        except ModelError as error:
            if self.trained_on is not None:
                raise ModelError(f"--base: {str(error).removeprefix('model.base_model_name: ')}") from error
            raise ModelError(f"{error}. If the base model has moved, name its place with --base PATH_OR_ID") from error

    @property
    def rank(self) -> int:
        """The largest rank of any adapted module."""
        ranks = as_record(_LoraRecord, self.adapter)
        return max([ranks.r, *(ranks.rank_pattern or {}).values()])

    @property
    def template(self) -> Path:
        """The chat template that the adapter was trained with."""
        return RunLayout(self.path).chat_template


def read_run(path: str | Path, *, base: str | None = None) -> FinishedRun:
    """Return the run in a folder, with its base model at `base` if it has moved.

    Raises `OutputError` if it holds no finished run, and `ConfigError`.
    """
    folder = Path(path)
    files = RunLayout(folder)
    missing = [file.name for file in (files.config, files.adapter_config, files.chat_template) if not file.is_file()]
    if missing:
        state = f"it has no {', '.join(missing)}" if folder.is_dir() else "there is no such folder"
        raise OutputError(f"{folder}: not a finished run ({state}); name a folder that tool-sft train wrote")
    try:
        adapter = read_object(files.adapter_config.read_bytes())
    except (OSError, DataError) as error:
        raise OutputError(f"{files.adapter_config}: cannot be read: {error}") from error
    try:
        as_record(_LoraRecord, adapter)
    except DataError as error:
        raise OutputError(f"{files.adapter_config}: not the configuration of a LoRA adapter: {error}") from error
    cfg = load_config(files.config)
    if base is None or base == cfg.model.base_model_name:
        return FinishedRun(folder, cfg, adapter)
    return FinishedRun(folder, _moved(cfg, base), adapter, cfg.model.base_model_name)


def _moved(cfg: Config, base: str) -> Config:
    """Return the configuration with its base model, and the tokenizer that comes with it, in another place."""
    sections: dict[str, Any] = {"model": cfg.model.model_copy(update={"base_model_name": base, "revision": None})}
    if cfg.data.tokenizer == cfg.model.base_model_name:
        sections["data"] = cfg.data.model_copy(update={"tokenizer": base, "tokenizer_revision": None})
    return cfg.model_copy(update=sections)
