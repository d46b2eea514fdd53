"""Read a finished run folder: its configuration and the settings of its adapter. Loads no weights."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, Field, StrictInt

from trainer.config import Config, load_config
from trainer.errors import DataError, OutputError
from trainer.run_layout import RunLayout
from trainer.util.records import as_record, read_object

Rank = Annotated[StrictInt, Field(ge=1)]


class _LoraRecord(BaseModel):
    """The ranks in the configuration file of a LoRA adapter."""

    r: Rank
    rank_pattern: dict[str, Rank] | None = None


@dataclass(frozen=True, slots=True)
class FinishedRun:
    """A run folder that holds a trained adapter."""

    path: Path
    cfg: Config
    adapter: Mapping[str, Any]

    @property
    def name(self) -> str:
        """The name that the adapter is served under by default."""
        return self.path.resolve().name

    @property
    def rank(self) -> int:
        """The largest rank of any adapted module."""
        ranks = as_record(_LoraRecord, self.adapter)
        return max([ranks.r, *(ranks.rank_pattern or {}).values()])

    @property
    def template(self) -> Path:
        """The chat template that the adapter was trained with."""
        return RunLayout(self.path).chat_template


def read_run(path: str | Path) -> FinishedRun:
    """Return the run in a folder. Raises `OutputError` if it holds no finished run, and `ConfigError`."""
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
    return FinishedRun(folder, load_config(files.config), adapter)
