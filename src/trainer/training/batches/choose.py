"""Choose how the rows of a run become batches: padded or packed, rows of a session joined or not. Trains nothing."""

import logging
from typing import Any, NamedTuple

from trainer.collate import PackingCollator, PaddingCollator
from trainer.config import Config
from trainer.errors import ConfigError
from trainer.kernels.attention_override import replaceable_attention
from trainer.kernels.packed_attention import keeps_branches_apart, keeps_rows_apart
from trainer.kernels.segments import n_shared_by_all
from trainer.lora_model import is_sharded
from trainer.training.batches.joined_rows import JoinedRows, has_sessions_of_several_rows, in_numpy, worth_joining
from trainer.training.batches.token_batches import TokenBatches

logger = logging.getLogger(__name__)


class Batching(NamedTuple):
    """The examples that training draws, and what makes a batch of them."""

    rows: Any
    collator: PaddingCollator | PackingCollator


def choose_batching(cfg: Config, model: Any, arguments: Any, rows: Any, *, pad_token_id: int) -> Batching:
    """Return packed rows if there are several in a batch or in a session, and the model keeps them apart; else padded.

    With `train.max_tokens_per_batch`, an example is a whole batch. Raises `ConfigError` if the configuration needs
    packing and that is not possible.
    """
    step = _length_step(arguments.device)
    padded = Batching(rows, PaddingCollator(pad_token_id, multiple_of=step))
    wanted = cfg.train.get("packing", "auto")
    several = bool(wanted) and has_sessions_of_several_rows(rows)
    max_tokens = cfg.train.get("max_tokens_per_batch")
    packs = arguments.per_device_train_batch_size > 1 or max_tokens is not None
    if not wanted or not (packs or several):
        return padded
    obstacle = _obstacle_to_packing(cfg, model, arguments)
    if obstacle is not None:
        if max_tokens is not None:
            raise ConfigError(f"train.max_tokens_per_batch: {obstacle}; set train.per_device_train_batch_size instead")
        if wanted is True:
            raise ConfigError(f"train.packing: {obstacle}; set it to auto")
        logger.info(f"rows are padded, not packed: {obstacle}")
        return padded
    branches = keeps_branches_apart(model)
    joined = _joined(cfg, rows, branches=branches) if several else None
    if joined is None and not packs:
        return padded
    examples = rows if joined is None else joined
    n_shared = _n_shared(examples) if packs and branches else 0
    if max_tokens is not None:
        seed = None if arguments.train_sampling_strategy == "sequential" else arguments.seed
        examples = TokenBatches(examples, max_tokens=max_tokens, seed=seed, n_shared=n_shared, share=branches)
    return Batching(examples, PackingCollator(pad_token_id, multiple_of=step, share=packs and branches))


def _n_shared(examples: Any) -> int:
    tokens = in_numpy(examples)
    n_shared = n_shared_by_all(tokens[index] for index in range(len(tokens)))
    if n_shared:
        logger.info(f"all sessions begin with the same {n_shared:,} tokens, which are computed once per batch")
    return n_shared


def _joined(cfg: Config, rows: Any, *, branches: bool) -> JoinedRows | None:
    """Return the rows of each session as one example; None, with the reason in the log, if they stay separate."""
    if not branches:
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
