"""Run one whole training: data, base evaluation, training, final evaluation, run folder."""

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from transformers import set_seed
from transformers.trainer_callback import EarlyStoppingCallback, PrinterCallback, ProgressCallback
from transformers.utils import logging as transformers_logging

from trainer.collate import PaddingCollator
from trainer.config import Config, config_to_yaml
from trainer.data import DatasetBundle
from trainer.data.chat_setup import make_chat_setup
from trainer.data.domains import domain_datasets, load_domain
from trainer.data.report import DataReport
from trainer.errors import ConfigError
from trainer.evaluation import Evaluation
from trainer.generation.settings import decode_settings
from trainer.hub import pinned, resolve_base_model
from trainer.lora_model import add_lora, load_base_model
from trainer.model_config import check_embedding, check_ids, load_model_config
from trainer.run_layout import BASE, ENVIRONMENT_FILE, FINAL, METRICS_FILE, REPORT_FILE, RUN_CONFIG
from trainer.scoring.tables import report_markdown
from trainer.tokenizer import load_tokenizer
from trainer.tool_trainer import ToolTrainer
from trainer.training.arguments import resolved_config, training_arguments
from trainer.training.checks.empty_model import check_adapter
from trainer.training.checks.hardware import check_hardware
from trainer.training.checks.hub_rights import check_hub_rights
from trainer.training.log import TrainingLog
from trainer.training.memory import peak_memory_gb
from trainer.training.preflight import preflight
from trainer.training.run_folder import RunFolder, claim, environment, prepare

logger = logging.getLogger(__name__)

_N_NAMES_SHOWN = 10


@dataclass(frozen=True, slots=True)
class RunResult:
    """The run folder, and the metrics of the run's `base` state (unless left out) and `final` state."""

    output_dir: Path
    states: Mapping[str, Mapping[str, Any]]


def train_run(cfg: Config) -> RunResult:
    """Train and evaluate as configured.

    Checks configuration, data and model before it writes anything. Raises a `ToolSftError` for everything that a user
    can fix.
    """
    transformers_logging.disable_progress_bar()
    preflight(cfg)
    check_hardware(cfg)
    check_hub_rights(cfg)
    overwrite = bool(cfg.train.get("overwrite_output_dir", False))
    resume = bool(cfg.train.get("resume_from_checkpoint"))
    claim(cfg.output_dir, overwrite=overwrite, resume=resume)
    domain = load_domain(cfg)
    arguments = training_arguments(cfg)
    set_seed(cfg.seed)
    name = cfg.model.base_model_name
    model_config = load_model_config(cfg)
    lacking = check_embedding(load_tokenizer(cfg), model_config, name=name)
    check_adapter(cfg, model_config)
    with arguments.main_process_first(desc="data preparation"):
        bundle = domain_datasets(domain, cfg)
    for rows in (bundle.train_dataset, bundle.eval_dataset):
        check_ids((rows[index] for index in range(len(rows))), lacking, name=name)
    for line in bundle.report.lines():
        logger.info(line)
    trainer = make_trainer(cfg, bundle, arguments)
    folder = RunFolder(cfg.output_dir, tuple(bundle.global_tools))
    if trainer.is_world_process_zero():
        prepare(cfg.output_dir, overwrite=overwrite, resume=resume)
        folder.write_text(RUN_CONFIG, config_to_yaml(pinned(resolved_config(cfg, arguments))))
        folder.write_json(ENVIRONMENT_FILE, environment(cfg, data_fingerprint=bundle.report.fingerprint))
    trainer.accelerator.wait_for_everyone()
    return _train(cfg, bundle.report, trainer, folder)


def make_trainer(cfg: Config, bundle: DatasetBundle, arguments: Any) -> ToolTrainer:
    """Return the Trainer for built datasets, with the base model and a new adapter."""
    chat = bundle.chat or make_chat_setup(cfg)
    pad_token_id: Any = chat.tokenizer.pad_token_id
    model = load_base_model(cfg, pad_token_id=pad_token_id)
    adapted = add_lora(model, cfg.lora, revision=resolve_base_model(cfg).commit)
    if arguments.gradient_checkpointing:
        adapted.enable_input_require_grads()
    try:
        trainer = ToolTrainer(
            model=adapted,
            args=arguments,
            train_dataset=bundle.train_dataset,
            eval_dataset=bundle.eval_dataset,
            data_collator=PaddingCollator(pad_token_id, multiple_of=_length_step(arguments.device)),
            processing_class=chat.tokenizer,
            tool_eval_examples=bundle.tool_eval_examples,
            global_tools=bundle.global_tools,
            fmt=chat.fmt,
            decoding=decode_settings(cfg, chat.encoder, model),
        )
    except OSError as error:
        if not arguments.push_to_hub:
            raise
        reason = str(error).strip().splitlines()[0]
        raise ConfigError(f"train.push_to_hub: the hub refused {arguments.hub_model_id}: {reason}") from error
    for callback in (ProgressCallback, PrinterCallback):
        trainer.remove_callback(callback)
    return trainer


def _length_step(device: Any) -> int:
    """Return the number that batch lengths are a multiple of.

    On a CPU, torch compiles kernels for every new shape and keeps about a thousand, so batches should have few lengths.
    """
    return 32 if device.type == "cpu" else 1


def _train(cfg: Config, report: DataReport, trainer: ToolTrainer, folder: RunFolder) -> RunResult:
    trainer.on_evaluation = folder.write_evaluation
    log = TrainingLog(trainer, folder.append_history)
    trainer.add_callback(log)
    if (patience := cfg.train.get("early_stopping")) is not None:
        trainer.add_callback(EarlyStoppingCallback(patience))
    states: dict[str, dict[str, Any]] = {}
    if cfg.eval.evaluate_base:
        states[BASE] = state_metrics(trainer.evaluate_base())
    resume = cfg.train.get("resume_from_checkpoint")
    outcome = trainer.train(resume_from_checkpoint=resume)
    best = _best_checkpoint(trainer)
    trainer.save_model(_internal_call=True)
    states[FINAL] = state_metrics(_final_evaluation(trainer))
    if trainer.is_world_process_zero():
        train = {"loss": outcome.training_loss, "n_steps": outcome.global_step, **log.rates()}
        train |= best
        train |= {"runtime_s": round(log.seconds, 2), "peak_memory_gb": round(peak_memory_gb(), 2)}
        final = trainer.last_evaluation
        assert final is not None
        folder.write_evaluation(FINAL, final[1])
        folder.write_json(METRICS_FILE, {**states, "train": train, "data": report.to_json()})
        notes = [*report.lines(), *skipped_lines(final[1])]
        notes.append(f"training: {train['n_steps']} steps, {train['tokens_per_s']} tokens/s")
        folder.write_text(REPORT_FILE, report_markdown(folder.path.name, states, notes))
    if trainer.args.push_to_hub:
        trainer.push_to_hub(commit_message="Adapter and metrics")
    return RunResult(folder.path, states)


def _best_checkpoint(trainer: ToolTrainer) -> dict[str, Any]:
    """Return which checkpoint is kept, and its metric; empty if the last weights are kept. Logs the choice."""
    args, state = trainer.args, trainer.state
    if not args.load_best_model_at_end or state.best_global_step is None:
        return {}
    logger.info(
        f"keeping the weights of step {state.best_global_step}, the best of {args.metric_for_best_model} "
        f"({state.best_metric:.4g}), out of {state.global_step} steps"
    )
    return {"best_step": state.best_global_step, "best_metric": {args.metric_for_best_model: state.best_metric}}


def _final_evaluation(trainer: ToolTrainer) -> Evaluation:
    """Return the evaluation of the saved weights: the last one during training, unless better weights were restored."""
    last = trainer.last_evaluation
    if last is None or last[0] != trainer.state.global_step or trainer.args.load_best_model_at_end:
        trainer.evaluate()
        last = trainer.last_evaluation
    assert last is not None
    return last[1]


def state_metrics(evaluation: Evaluation) -> dict[str, Any]:
    """Return the metrics of a state, flat, together with the tables of the scorer."""
    return {**evaluation.scores.to_state(), **evaluation.metrics}


def skipped_lines(evaluation: Evaluation) -> list[str]:
    """Return the report's line on turns that did not fit in the context: how many, and which. Empty if all fit."""
    names = [f"{p.session_id}/{p.turn}" for p in evaluation.predictions if p.finish_reason == "skipped_for_length"]
    if not names:
        return []
    shown = ", ".join(names[:_N_NAMES_SHOWN]) + (", …" if len(names) > _N_NAMES_SHOWN else "")
    return [
        f"eval: {len(names)} turns skipped for length, because prompt and eval.max_new_tokens_eval exceed "
        f"data.max_context_length (session/turn): {shown}"
    ]
