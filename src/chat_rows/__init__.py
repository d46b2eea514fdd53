"""A domain that needs no code: rows of a public layout, with their own tools. `data.load_module: "chat_rows"`."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from trainer.config import Config, as_config
from trainer.data import DatasetBundle
from trainer.data.build import build_bundle, judged_turns
from trainer.data.layout_reader import file_prompt, join_prompts, open_rows
from trainer.types import EvalTurn

__all__ = ["build_datasets", "open_rows", "read_turns", "system_prompt_now"]


def build_datasets(cfg: Config | Mapping[str, Any]) -> DatasetBundle:
    """Return the datasets, judged turns and tools of the configured rows. See `trainer.data.build.build_bundle`."""
    cfg = as_config(cfg)
    return build_bundle(cfg, open_rows(cfg))


def read_turns(cfg: Config | Mapping[str, Any]) -> list[EvalTurn]:
    """Return the same judged turns without tokens, for scoring a served model."""
    cfg = as_config(cfg)
    return judged_turns(cfg, open_rows(cfg))


def system_prompt_now(cfg: Config, *, sysprompt: str | None, now: datetime, row_prompt: str | None = None) -> str:
    """Return the system prompt of an application at the moment `now`. `row_prompt` is what a row would bring.

    See `trainer.data.live_prompt`.
    """
    from_file = None if sysprompt is None else file_prompt(sysprompt, now, timezone=cfg.data.timezone)
    return join_prompts(cfg.data.system_prompt, row=row_prompt, file=from_file)
