"""Check the adapter's settings on the base model's architecture, built without weights. Loads and downloads none."""

import logging
from typing import TYPE_CHECKING

import torch
from transformers import AutoModelForCausalLM, PreTrainedModel

from trainer.config import Config
from trainer.lora_model import add_lora

if TYPE_CHECKING:
    from transformers import PretrainedConfig

logger = logging.getLogger(__name__)


def check_adapter(cfg: Config, model_config: "PretrainedConfig") -> None:
    """Refuse adapter settings that do not fit the model. Raises `ModelError`.

    A model with code of its own is left to loading, since its code may not run without weights.
    """
    model = empty_model(cfg, model_config)
    if model is not None:
        with torch.device("meta"):
            add_lora(model, cfg.lora)


def empty_model(cfg: Config, model_config: "PretrainedConfig") -> PreTrainedModel | None:
    """Return the model without weights; None if it cannot be built so, or has code of its own."""
    if cfg.model.trust_remote_code:
        return None
    try:
        with torch.device("meta"):
            model: PreTrainedModel = AutoModelForCausalLM.from_config(model_config, dtype=torch.float32)
    except Exception as error:  # whatever it is, loading the model reports it as a user should read it
        logger.debug("the model cannot be built without weights: %s", error)
        return None
    return model
