"""Build the Trainer of a run: the base model with a new adapter, and batches that suit both. Trains nothing."""

from typing import Any

from transformers.trainer_callback import PrinterCallback, ProgressCallback

from trainer.config import Config
from trainer.data import DatasetBundle
from trainer.data.chat_setup import ChatSetup
from trainer.generation.settings import decode_settings
from trainer.hub import resolve_base_model
from trainer.lora_model import add_lora, load_base_model
from trainer.training.batches.choose import choose_batching
from trainer.training.recovery.stopping import StopRequest
from trainer.training.run_folder import RunFolder
from trainer.training.run_trainer import RunTrainer


def make_trainer(
    cfg: Config, bundle: DatasetBundle, chat: ChatSetup, arguments: Any, *, folder: RunFolder, stop: StopRequest
) -> RunTrainer:
    """Return the Trainer for built datasets, with the base model and a new adapter."""
    pad_token_id: Any = chat.tokenizer.pad_token_id
    model = load_base_model(cfg, pad_token_id=pad_token_id)
    adapted = add_lora(model, cfg.lora, revision=resolve_base_model(cfg).commit)
    if arguments.gradient_checkpointing:
        adapted.enable_input_require_grads()
    batching = choose_batching(cfg, adapted, arguments, bundle.train_dataset, pad_token_id=pad_token_id)
    trainer = RunTrainer(
        model=adapted,
        args=arguments,
        train_dataset=batching.rows,
        eval_dataset=bundle.eval_dataset,
        data_collator=batching.collator,
        processing_class=chat.tokenizer,
        tool_eval_examples=bundle.tool_eval_examples,
        global_tools=bundle.global_tools,
        fmt=chat.fmt,
        decoding=decode_settings(cfg, chat.encoder, model),
        selection_examples=bundle.selection_examples,
        loss_weighting=cfg.train.get("loss_weighting", "token"),
        folder=folder,
        stop=stop,
    )
    for callback in (ProgressCallback, PrinterCallback):
        trainer.remove_callback(callback)
    return trainer
