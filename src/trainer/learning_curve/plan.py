"""Count what each share's run will train on, and refuse to go on with other settings or data. Trains nothing."""

import dataclasses
import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

from trainer.config import Config
from trainer.data.domains import domain_datasets, load_domain
from trainer.data.report import DataReport
from trainer.errors import ConfigError, DataError
from trainer.learning_curve.shares import (
    ALL,
    RunState,
    check_curve,
    curve_folder,
    n_sessions_of,
    record_of,
    refuse_changes,
    run_configs,
    run_state,
    share_of_sessions,
)
from trainer.learning_curve.verdict import MORE_EVALUATIONS
from trainer.model_config import load_model_config
from trainer.run_layout import RunLayout
from trainer.scoring.permutation import FEWEST_SESSIONS
from trainer.training.arguments import resolved_config, training_arguments
from trainer.training.recipe import settled
from trainer.training.recovery.resume import has_other_data
from trainer.training.train import as_written


@dataclass(frozen=True, slots=True)
class PlannedRun:
    """The run of a share. `n_supervised_tokens` are those of all its sessions, once.

    `n_steps` are optimizer steps, fewer if training stops early. `n_evaluations` counts those of the trained model.
    """

    percent: int
    cfg: Config
    state: RunState
    n_sessions: int
    n_supervised_tokens: int
    n_steps: int
    n_evaluations: int

    @property
    def folder(self) -> Path:
        """The run folder."""
        return self.cfg.output_dir


@dataclass(frozen=True, slots=True)
class Plan:
    """The runs of a curve in the order of training, the smallest first. `notes` say what the curve will not show."""

    folder: Path
    runs: tuple[PlannedRun, ...]
    notes: tuple[str, ...]


class _Counted(NamedTuple):
    report: DataReport
    n_rows: int
    n_judged_sessions: int


def make_plan(cfg: Config, percents: Sequence[int]) -> Plan:
    """Prepare the rows of every share, and return what is to be trained.

    `percents` rise up to 100. Raises a `ToolSftError` for a configuration that cannot train, for sessions that cannot
    be chosen or are too few, and for runs of an earlier call with other settings or data.
    """
    check_curve(cfg, percents)
    cfg = _with_one_recipe(cfg, percents)
    configs = run_configs(cfg, percents)
    states = {percent: run_state(cfg, percent) for percent in percents}
    for percent in percents:
        if states[percent] != "new":
            resolved = resolved_config(configs[percent], _arguments(configs[percent]))
            refuse_changes(as_written(resolved), resolved=True)
    everything = _counted(configs[ALL])
    if not everything.report.sources:
        raise ConfigError(
            f"data.load_module: {cfg.data.load_module} makes its own rows, so no session of it can be chosen by its "
            "id; build them with trainer.data.assemble_datasets, as tool-sft new-domain does"
        )
    available = [source.n_train_sessions for source in everything.report.sources]
    limited = {percent: share_of_sessions(configs[percent], percent, available=available) for percent in percents}
    _refuse_equal_shares(percents, available)
    runs = []
    for percent, run_cfg in limited.items():
        counted = everything if percent == ALL else _counted(run_cfg)
        _check_sessions(run_cfg, counted, wanted=n_sessions_of(percent, available))
        if states[percent] != "new":
            _refuse_other_data(run_cfg, counted.report)
        runs.append(_planned(run_cfg, counted, percent=percent, state=states[percent]))
    return Plan(curve_folder(cfg), tuple(runs), tuple(_notes(cfg, runs[-1], everything)))


def _with_one_recipe(cfg: Config, percents: Sequence[int]) -> Config:
    """Return the configuration with what a recipe chooses for all sessions, so that shares differ in nothing else."""
    if cfg.train.get("recipe") != "auto":
        return cfg
    whole = run_configs(cfg, percents)[ALL]
    arguments = _arguments(whole)
    with arguments.main_process_first(desc="data preparation"):
        bundle = domain_datasets(load_domain(whole), whole)
    chosen = settled(whole, bundle, load_model_config(cfg), arguments)
    new = {key: value for key, value in chosen.train.items() if key not in whole.train}
    return cfg.model_copy(update={"train": {**cfg.train, **new}, "lora": chosen.lora})


def _counted(cfg: Config) -> _Counted:
    """Prepare the rows of a share, which its training then finds in the cache."""
    arguments = _arguments(cfg)
    with arguments.main_process_first(desc="data preparation"):
        bundle = domain_datasets(load_domain(cfg), cfg)
    judged = {example.session_id for example in bundle.tool_eval_examples}
    return _Counted(bundle.report, len(bundle.train_dataset), len(judged))


def _arguments(cfg: Config) -> Any:
    return training_arguments(cfg, folder=RunLayout(cfg.output_dir).unfinished)


def _planned(cfg: Config, counted: _Counted, *, percent: int, state: RunState) -> PlannedRun:
    arguments = _arguments(cfg)
    per_epoch = steps_per_epoch(arguments, n_rows=counted.n_rows)
    n_steps = n_optimizer_steps(arguments, n_rows=counted.n_rows)
    return PlannedRun(
        percent=percent,
        cfg=cfg,
        state=state,
        n_sessions=counted.report.train.n_sessions,
        n_supervised_tokens=counted.report.train.n_supervised_tokens,
        n_steps=n_steps,
        n_evaluations=_n_evaluations(arguments, n_steps=n_steps, per_epoch=per_epoch),
    )


def steps_per_epoch(arguments: Any, *, n_rows: int) -> int:
    """Return the optimizer steps of an epoch. `arguments` are TrainingArguments."""
    n_batches = n_rows / int(arguments.train_batch_size * arguments.world_size)
    whole = math.floor(n_batches) if arguments.dataloader_drop_last else math.ceil(n_batches)
    return max(math.ceil(whole / int(arguments.gradient_accumulation_steps)), 1)


def n_optimizer_steps(arguments: Any, *, n_rows: int) -> int:
    """Return the optimizer steps of a whole training. `arguments` are TrainingArguments."""
    if arguments.max_steps >= 0:
        return int(arguments.max_steps)
    return math.ceil(float(arguments.num_train_epochs) * steps_per_epoch(arguments, n_rows=n_rows))


def _n_evaluations(arguments: Any, *, n_steps: int, per_epoch: int) -> int:
    """How often the trained model is evaluated, the end included."""
    if arguments.eval_strategy == "no":
        return 1
    every = per_epoch if arguments.eval_strategy == "epoch" else arguments.eval_steps
    if every < 1:  # a share of all steps
        every = max(math.ceil(every * n_steps), 1)
    return max(math.ceil(n_steps / float(every)), 1)


def _refuse_other_data(cfg: Config, report: DataReport) -> None:
    if has_other_data(record_of(cfg.output_dir), report.fingerprint):
        raise DataError(
            f"{cfg.output_dir}: the data has changed since this run of the curve began (its rows have another "
            f"fingerprint); restore it, choose another train.output_dir, or delete {cfg.output_dir.parent} to begin "
            "again"
        )


def _check_sessions(cfg: Config, counted: _Counted, *, wanted: int) -> None:
    """Raise `ConfigError` if a domain of its own ignores which sessions are wanted."""
    selection = counted.report.selection
    n_sessions = counted.report.train.n_sessions + (0 if selection is None else selection.n_sessions)
    if n_sessions != wanted:
        raise ConfigError(
            f"data.load_module: {cfg.data.load_module} returns {n_sessions} training sessions "
            f"instead of {wanted}; its build_datasets(cfg) must follow data.sources[].max_sessions, as "
            "trainer.data.assemble_datasets does"
        )


def _refuse_equal_shares(percents: Sequence[int], available: Sequence[int]) -> None:
    for smaller, larger in pairwise(percents):
        if n_sessions_of(smaller, available) == (n_sessions := n_sessions_of(larger, available)):
            raise DataError(
                f"--shares: {smaller}% and {larger}% are both {n_sessions} training sessions; give shares that are "
                "further apart, or more sessions"
            )


def _notes(cfg: Config, whole: PlannedRun, counted: _Counted) -> list[str]:
    notes = []
    if counted.n_judged_sessions < FEWEST_SESSIONS:
        notes.append(
            f"{counted.n_judged_sessions} test sessions are judged, too few for a verdict (at least {FEWEST_SESSIONS}, "
            "better 50): data.n_tool_sessions_eval, data.eval_split"
        )
    if whole.n_evaluations < 2:
        notes.append(f"The run is evaluated once, so nothing will show what more steps gain: {MORE_EVALUATIONS}")
    if cfg.train.get("push_to_hub"):
        notes.append("train.push_to_hub is off in these runs; tool-sft push uploads one of them")
    return notes


def planned_json(run: PlannedRun) -> dict[str, Any]:
    """Return what is planned as JSON values: without the configuration, and without the state, which changes."""
    names = (field.name for field in dataclasses.fields(run) if field.name not in ("cfg", "state"))
    return {"folder": run.folder.name} | {name: getattr(run, name) for name in names}
