"""Run one whole training: data, base evaluation, training, final evaluation, run folder."""

import json
import logging
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml
from transformers import set_seed
from transformers.trainer_callback import EarlyStoppingCallback
from transformers.utils import logging as transformers_logging

from trainer.calibration.record import without_curves
from trainer.config import Config, config_to_yaml, parse_config
from trainer.data import DatasetBundle
from trainer.data.chat_setup import make_chat_setup
from trainer.data.domains import domain_datasets, load_domain
from trainer.errors import OutputError
from trainer.evaluation import Evaluation
from trainer.guard.conversations import read_guard
from trainer.guard.measures import SECTION
from trainer.guard_evaluation import make_guard
from trainer.hub import pinned
from trainer.model_config import check_embedding, check_ids, load_model_config
from trainer.run_layout import (
    BASE,
    CALIBRATION_FILE,
    ENVIRONMENT_FILE,
    FINAL,
    METRICS_FILE,
    RUN_CONFIG,
    RunLayout,
)
from trainer.tokenizer import load_tokenizer
from trainer.training.arguments import resolved_config, training_arguments
from trainer.training.build_trainer import make_trainer
from trainer.training.calibrating import calibrate, evaluated
from trainer.training.checks.empty_model import check_adapter
from trainer.training.checks.hardware import check_hardware
from trainer.training.checks.hub_rights import check_hub_rights
from trainer.training.logs.expected_time import log_expected_time
from trainer.training.logs.log import TrainingLog
from trainer.training.logs.trackers import Trackers
from trainer.training.memory import peak_memory_gb
from trainer.training.preflight import preflight
from trainer.training.publishing.card_of_run import card_of_run
from trainer.training.publishing.upload import check_target, upload_finished, upload_target
from trainer.training.recipe import settled
from trainer.training.recovery.checkpoints import incomplete_lines, keep_until, step_of
from trainer.training.recovery.ending import left_explained
from trainer.training.recovery.resume import Start, check_data, check_resolved, find_start
from trainer.training.recovery.stopping import StopRequest
from trainer.training.run_folder import RunFolder, environment
from trainer.training.run_guard import RunGuard
from trainer.training.run_place import open_place, settle, take_place
from trainer.training.run_trainer import RunTrainer
from trainer.util.messages import is_first_process

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class RunResult:
    """The run folder, and the metrics of the run's `base` state (unless left out) and `final` state.

    `guard` is what `metrics.json` keeps of the guard; empty if it is off.
    """

    output_dir: Path
    states: Mapping[str, Mapping[str, Any]]
    guard: Mapping[str, Any] = field(default_factory=dict)


def train_run(cfg: Config) -> RunResult:
    """Train and evaluate as configured, or go on with an interrupted run.

    Checks configuration, data and model before it writes anything. Raises a `ToolSftError` for everything that a user
    can fix, and `RunInterrupted` if a signal ended the run; both say what is left.
    """
    transformers_logging.disable_progress_bar()
    preflight(cfg)
    check_hardware(cfg)
    writes = is_first_process()
    target = upload_target(cfg) if writes else None
    if writes:
        check_hub_rights(cfg)
    start = find_start(cfg)
    if start.is_finished:
        result = _finished(cfg)
        upload_finished(cfg.output_dir, target)
        return result
    goes_on = start.goes_on_in(cfg.output_dir)
    domain = load_domain(cfg)
    work = RunLayout(cfg.output_dir).unfinished
    arguments = training_arguments(cfg, folder=work)
    set_seed(cfg.seed)
    name = cfg.model.base_model_name
    model_config = load_model_config(cfg)
    lacking = check_embedding(load_tokenizer(cfg), model_config, name=name)
    check_adapter(cfg, model_config)
    with arguments.main_process_first(desc="data preparation"):
        conversations = read_guard(cfg)
        bundle = domain_datasets(domain, cfg)
    for rows in (bundle.train_dataset, bundle.eval_dataset):
        check_ids((rows[index] for index in range(len(rows))), lacking, name=name)
    for line in bundle.report.lines():
        logger.info(line)
    cfg = settled(cfg, bundle, model_config, arguments)
    arguments = training_arguments(cfg, folder=work)
    if start.record is not None:
        check_resolved(start.record, as_written(resolved_config(cfg, arguments)))
    chat = bundle.chat or make_chat_setup(cfg)
    facts = environment(cfg, data_fingerprint=bundle.report.fingerprint)
    if start.record is not None:
        for note in check_data(start.record, facts):
            logger.warning(note)
    folder = RunFolder(work, tuple(bundle.global_tools))
    check_target(target)
    with StopRequest() as stop:
        trainer = make_trainer(cfg, bundle, chat, arguments, folder=folder, stop=stop)
        guard = make_guard(conversations, chat, trainer.evaluator.settings)
        if guard is not None:
            check_ids(guard.rows(), lacking, name=name)
        overwrite = bool(cfg.train.get("overwrite_output_dir"))
        place = open_place(cfg.output_dir, resume=goes_on, overwrite=overwrite) if writes else nullcontext()
        with place, left_explained(cfg, stop):
            if writes:
                _begin(cfg, arguments, folder, start, facts)
            trainer.accelerator.wait_for_everyone()
            result = _train(cfg, bundle, trainer, folder, start, RunGuard(guard, trainer, folder))
    upload_finished(cfg.output_dir, target)
    return result


def as_written(cfg: Config) -> Config:
    """Return a configuration as it is read back from a run folder."""
    return parse_config(yaml.safe_load(config_to_yaml(cfg)), source="configuration")


def _finished(cfg: Config) -> RunResult:
    """Return the result of the run in the output folder, which was finished before; empty on other processes."""
    if not is_first_process():
        return RunResult(cfg.output_dir, {})
    with open_place(cfg.output_dir, resume=True):
        settle(cfg.output_dir)
    metrics = json.loads(RunLayout(cfg.output_dir).metrics.read_text(encoding="utf-8"))
    logger.info(f"{cfg.output_dir}: this run is finished; there is nothing to resume")
    states: dict[str, Any] = {state: metrics[state] for state in (BASE, FINAL) if state in metrics}
    return RunResult(cfg.output_dir, states, metrics.get(SECTION) or {})


def _begin(cfg: Config, arguments: Any, folder: RunFolder, start: Start, facts: Mapping[str, Any]) -> None:
    """Write what is known before the first step; in a run that goes on, remove what came after its checkpoint."""
    goes_on = start.goes_on_in(cfg.output_dir)
    if start.record is not None and find_start(cfg) != start:
        raise OutputError(f"{cfg.output_dir}: another run has gone on here in the meantime; look at it, then try again")
    for line in incomplete_lines(folder.path):
        logger.warning(line)
    keep_until(folder.path, step_of(start.checkpoint) if goes_on and start.checkpoint else -1)
    if start.checkpoint is None:
        folder.rewind(0)
    elif start.record is not None and not goes_on:
        folder.take_over(start.record)
    if goes_on and RunLayout(folder.path).config.is_file():
        return
    folder.write_json(ENVIRONMENT_FILE, facts)
    folder.write_text(RUN_CONFIG, config_to_yaml(pinned(resolved_config(cfg, arguments))))


def _train(
    cfg: Config, bundle: DatasetBundle, trainer: RunTrainer, folder: RunFolder, start: Start, guard: RunGuard
) -> RunResult:
    trackers = Trackers(trainer)
    trainer.on_evaluation = _written_and_tracked(folder, trackers)
    try:
        return _train_tracked(cfg, bundle, trainer, folder, start, trackers, guard)
    finally:
        trackers.close()


def _written_and_tracked(folder: RunFolder, trackers: Trackers) -> Callable[[str, Evaluation], None]:
    def on_evaluation(name: str, evaluation: Evaluation) -> None:
        folder.write_evaluation(name, evaluation)
        trackers.evaluated(name, evaluation)

    return on_evaluation


def _train_tracked(
    cfg: Config,
    bundle: DatasetBundle,
    trainer: RunTrainer,
    folder: RunFolder,
    start: Start,
    trackers: Trackers,
    guard: RunGuard,
) -> RunResult:
    log = TrainingLog(trainer, folder.append_history)
    trainer.add_callback(log)
    if (patience := cfg.train.get("early_stopping")) is not None:
        trainer.add_callback(EarlyStoppingCallback(patience))
    states: dict[str, dict[str, Any]] = {}
    if start.checkpoint is None:
        log_expected_time(trainer)

    def judge_base() -> None:
        if cfg.eval.evaluate_base:
            states[BASE] = _base_state(trainer, folder)
        guard.judge_base()
        trackers.measured(BASE, guard.metrics(BASE))

    trainer.before_training = judge_base
    try:
        outcome = trainer.train_run(start.checkpoint)
    finally:
        log.close()
    best = _best_checkpoint(trainer)
    trainer.save_model(_internal_call=True)
    calibration = calibrate(cfg, trainer, bundle.selection_examples)
    guard.decode_as(trainer.evaluator.settings)
    final = _final_evaluation(trainer, folder)
    states[FINAL] = state_metrics(final)
    guard.judge_final()
    states = {name: guard.add_to(state, name) for name, state in states.items()}
    if calibration is not None:
        states[FINAL]["call_bias"] = calibration.fit.bias
    if trainer.is_world_process_zero():
        train = {"loss": outcome.training_loss, "n_steps": outcome.global_step, **log.rates()}
        train |= best
        train |= {"runtime_s": round(trainer.training_seconds, 2), "peak_memory_gb": round(peak_memory_gb(), 2)}
        folder.write_evaluation(FINAL, final)
        trackers.evaluated(FINAL, final)
        trackers.measured(FINAL, guard.metrics(FINAL))
        trackers.close()
        folder.write_conversations((*bundle.tool_eval_examples, *bundle.selection_examples))
        metrics = {**states, "train": train, "data": bundle.report.to_json()}
        metrics |= {SECTION: guard.section} if guard.section else {}
        if calibration is not None:
            record = calibration.to_json(evaluated(calibration, bundle.tool_eval_examples, final))
            folder.write_json(CALIBRATION_FILE, record)
            metrics["calibration"] = without_curves(record)
        folder.write_json(METRICS_FILE, metrics)
        folder.write_card(lambda: card_of_run(folder.path, resolved_config(cfg, trainer.args), metrics))
        folder.write_report()
        take_place(cfg.output_dir)
    trainer.accelerator.wait_for_everyone()
    return RunResult(cfg.output_dir, states, guard.section)


def _base_state(trainer: RunTrainer, folder: RunFolder) -> dict[str, Any]:
    """Return the metrics of the base model; measured once, also if the run is interrupted."""
    state: dict[str, Any] = folder.metrics_so_far().get(BASE) or {}
    if not state:
        state = state_metrics(trainer.evaluate_base())
        if trainer.is_world_process_zero():
            folder.add_metrics({BASE: state})
        trainer.accelerator.wait_for_everyone()
    return state


def _best_checkpoint(trainer: RunTrainer) -> dict[str, Any]:
    """Return which checkpoint is kept, and its metric; empty if the last weights are kept. Logs the choice."""
    args, state = trainer.args, trainer.state
    if not args.load_best_model_at_end or state.best_global_step is None:
        return {}
    logger.info(
        f"keeping the weights of step {state.best_global_step}, the best of {args.metric_for_best_model} "
        f"({state.best_metric:.4g}), out of {state.global_step} steps"
    )
    return {"best_step": state.best_global_step, "best_metric": {args.metric_for_best_model: state.best_metric}}


def _final_evaluation(trainer: RunTrainer, folder: RunFolder) -> Evaluation:
    """Return the evaluation of the saved weights: the last one during training, unless better weights were restored."""
    last, step = trainer.last_evaluation, trainer.state.global_step
    if trainer.args.load_best_model_at_end or trainer.selector.examples:
        return trainer.judge()  # the history has these weights at their own step, or on other sessions
    if last is not None and last[0] == step:
        return last[1]
    if step in folder.evaluated_steps():  # before an interruption
        return trainer.judge()
    trainer.evaluate()
    assert trainer.last_evaluation is not None
    return trainer.last_evaluation[1]


def state_metrics(evaluation: Evaluation) -> dict[str, Any]:
    """Return the metrics of a state, flat, together with the tables of the scorer."""
    return {**evaluation.scores.to_state(), **evaluation.metrics}
