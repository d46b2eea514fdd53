"""How the rows of a run become batches: padded or packed, and those of a session joined or not. Trains nothing."""

import logging
from typing import Any, NamedTuple

from trainer.collate import PackingCollator, PaddingCollator
from trainer.config import Config
from trainer.errors import ConfigError
from trainer.kernels.attention_override import replaceable_attention
from trainer.kernels.packed_attention import keeps_branches_apart, keeps_rows_apart
from trainer.lora_model import is_sharded
from trainer.training.joined_rows import JoinedRows, has_sessions_of_several_rows, worth_joining

logger = logging.getLogger(__name__)


class Batching(NamedTuple):
    """The examples that training draws, and what makes a batch of them."""

    rows: Any
    collator: PaddingCollator | PackingCollator


def choose_batching(cfg: Config, model: Any, arguments: Any, rows: Any, *, pad_token_id: int) -> Batching:
    """Return packed rows if there are several in a batch or in a session, and the model keeps them apart; else padded.

    Raises `ConfigError` if `train.packing` is true and that is not possible.
    """
    step = _length_step(arguments.device)
    padded = Batching(rows, PaddingCollator(pad_token_id, multiple_of=step))
    wanted = cfg.train.get("packing", "auto")
    several = bool(wanted) and has_sessions_of_several_rows(rows)
    packs = arguments.per_device_train_batch_size > 1
    if not wanted or not (packs or several):
        return padded
    obstacle = _obstacle_to_packing(cfg, model, arguments)
    if obstacle is not None:
        if wanted is True:
            raise ConfigError(f"train.packing: {obstacle}; set it to auto")
        logger.info(f"rows are padded, not packed: {obstacle}")
        return padded
    packing = PackingCollator(pad_token_id, multiple_of=step)
    joined = _joined(cfg, model, rows) if several else None
    if joined is not None:
        return Batching(joined, packing)
    return Batching(rows, packing) if packs else padded


def _joined(cfg: Config, model: Any, rows: Any) -> JoinedRows | None:
    """Return the rows of each session as one example; None, with the reason in the log, if they stay separate."""
    if not keeps_branches_apart(model):
        name = cfg.model.base_model_name
        logger.info(f"rows of a session are not joined: {name} computes something else for them than for rows alone")
        return None
    joined = JoinedRows(rows)
    if not worth_joining(joined):
        return None
    logger.info(
        f"the {joined.n_rows:,} rows are joined to {len(joined):,} sessions, so shared beginnings are computed once: "
        f"{sum(joined.lengths):,} tokens instead of {joined.n_row_tokens:,}; a session counts as one row of a batch"
    )
    return joined


def _obstacle_to_packing(cfg: Config, model: Any, arguments: Any) -> str | None:
    if is_sharded(model):
        return "weights in shards cannot be tried before training"
    if arguments.torch_compile:
        return "a compiled model is compiled again for every new number of rows"
    if replaceable_attention(model) != "sdpa":
        return "packing needs model.attn_implementation: sdpa"
    if not keeps_rows_apart(model):
        return f"{cfg.model.base_model_name} computes something else for packed rows than for each row alone"
    return None


def _length_step(device: Any) -> int:
    """Return the number that batch lengths are a multiple of.

    On a CPU, torch compiles kernels for every new shape and keeps about a thousand, so batches should have few lengths.
    """
    return 32 if device.type == "cpu" else 1
