"""Build the Trainer of a run: the base model with a new adapter, and batches that suit both. Trains nothing."""

import logging
from typing import Any

from transformers.trainer_callback import PrinterCallback, ProgressCallback

from trainer.collate import PackingCollator, PaddingCollator
from trainer.config import Config
from trainer.data import DatasetBundle
from trainer.data.chat_setup import ChatSetup
from trainer.errors import ConfigError
from trainer.generation.settings import decode_settings
from trainer.hub import resolve_base_model
from trainer.kernels.attention_override import replaceable_attention
from trainer.kernels.packed_attention import keeps_rows_apart
from trainer.lora_model import add_lora, is_sharded, load_base_model
from trainer.training.recovery.stopping import StopRequest
from trainer.training.run_folder import RunFolder
from trainer.training.run_trainer import RunTrainer

logger = logging.getLogger(__name__)


def make_trainer(
    cfg: Config, bundle: DatasetBundle, chat: ChatSetup, arguments: Any, *, folder: RunFolder, stop: StopRequest
) -> RunTrainer:
    """Return the Trainer for built datasets, with the base model and a new adapter."""
    pad_token_id: Any = chat.tokenizer.pad_token_id
    model = load_base_model(cfg, pad_token_id=pad_token_id)
    adapted = add_lora(model, cfg.lora, revision=resolve_base_model(cfg).commit)
    if arguments.gradient_checkpointing:
        adapted.enable_input_require_grads()
    trainer = RunTrainer(
        model=adapted,
        args=arguments,
        train_dataset=bundle.train_dataset,
        eval_dataset=bundle.eval_dataset,
        data_collator=_collator(cfg, adapted, arguments, pad_token_id),
        processing_class=chat.tokenizer,
        tool_eval_examples=bundle.tool_eval_examples,
        global_tools=bundle.global_tools,
        fmt=chat.fmt,
        decoding=decode_settings(cfg, chat.encoder, model),
        folder=folder,
        stop=stop,
    )
    for callback in (ProgressCallback, PrinterCallback):
        trainer.remove_callback(callback)
    return trainer


def _collator(cfg: Config, model: Any, arguments: Any, pad_token_id: int) -> PaddingCollator | PackingCollator:
    """Return the collator of a run: packed rows if there are several in a batch and the model keeps them apart."""
    step = _length_step(arguments.device)
    padding = PaddingCollator(pad_token_id, multiple_of=step)
    wanted = cfg.train.get("packing", "auto")
    if not wanted or arguments.per_device_train_batch_size == 1:
        return padding
    obstacle = _obstacle_to_packing(cfg, model, arguments)
    if obstacle is None:
        return PackingCollator(pad_token_id, multiple_of=step)
    if wanted is True:
        raise ConfigError(f"train.packing: {obstacle}; set it to auto")
    logger.info(f"rows are padded, not packed: {obstacle}")
    return padding


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
