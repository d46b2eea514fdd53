"""A domain that needs no code: rows of a public layout, with their own tools. `data.load_module: "chat_rows"`."""

from collections.abc import Mapping
from typing import Any

from trainer.config import Config, as_config
from trainer.data import DatasetBundle
from trainer.data.build import build_bundle, judged_turns
from trainer.data.layout_reader import open_rows
from trainer.types import EvalTurn

__all__ = ["build_datasets", "open_rows", "read_turns"]


def build_datasets(cfg: Config | Mapping[str, Any]) -> DatasetBundle:
    """Return the datasets, judged turns and tools of the configured rows. See `trainer.data.build.build_bundle`."""
    cfg = as_config(cfg)
    return build_bundle(cfg, open_rows(cfg))


def read_turns(cfg: Config | Mapping[str, Any]) -> list[EvalTurn]:
    """Return the same judged turns without tokens, for scoring a served model."""
    cfg = as_config(cfg)
    return judged_turns(cfg, open_rows(cfg))
