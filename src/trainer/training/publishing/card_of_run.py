"""Make the model card of a run from its folder: its predictions, and its chat template's arguments. Writes nothing."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from trainer.config import Config
from trainer.data.chat_setup import load_encoder
from trainer.errors import ToolSftError
from trainer.reports.folder import read_evidence
from trainer.scoring.saved import compare_states
from trainer.training.publishing.model_card import model_card


def card_of_run(folder: Path, cfg: Config, metrics: Mapping[str, Any]) -> str:
    """Return the card of the run in a folder; `cfg` has a value for every key, `metrics` is its `metrics.json`."""
    return model_card(
        cfg,
        metrics,
        comparison=compare_states(folder),
        evidence=read_evidence(folder, metrics),
        template_kwargs=_template_kwargs(folder, cfg),
    )


def _template_kwargs(folder: Path, cfg: Config) -> Mapping[str, Any]:
    """Return the arguments of the chat template, with the default ones if its tokenizer can be loaded."""
    try:
        return load_encoder(cfg, folder=folder).encoder.template_kwargs
    except ToolSftError:  # the base model has moved
        return cfg.data.chat_template_kwargs or {}
