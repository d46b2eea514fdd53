"""The runs of a learning curve: their folders, how far each is, and their configurations. Reads no data.

A share is a percentage of the training sessions. The sessions of a smaller share are contained in those of a larger
one, because `max_sessions` takes the first ones in an order by a hash of their ids.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from trainer.config import Config, load_config
from trainer.config.schema import SourceConfig
from trainer.errors import ConfigError, DataError
from trainer.run_layout import FINAL, RunLayout
from trainer.training.preflight import preflight
from trainer.training.recovery.checkpoints import checkpoints, step_of
from trainer.training.recovery.resume import changed_settings
from trainer.training.run_place import has_unfinished
from trainer.util.records import read_object

ALL = 100
"""The share that has every training session, in percent."""

RunState = Literal["finished", "interrupted", "new"]


def check_curve(cfg: Config, percents: Sequence[int]) -> None:
    """Raise a `ToolSftError` for settings that a curve cannot have, and for what no run could train. Needs no torch."""
    if cfg.train.get("resume_from_checkpoint"):
        raise ConfigError(
            "train.resume_from_checkpoint: leave it out; the same tool-sft curve command goes on by itself"
        )
    if cfg.data.n_tool_sessions_eval == 0:
        raise ConfigError(
            "data.n_tool_sessions_eval: got 0, but a curve compares judged turns; give at least 6 sessions, better 50"
        )
    if any(source.weight != 1 for source in cfg.data.sources):
        raise ConfigError(
            "data.sources: sources with a weight have no plain number of sessions to take a share of; remove the "
            "weights for the curve"
        )
    states = {percent: run_state(cfg, percent) for percent in percents}
    configs = run_configs(cfg, percents)
    for percent, state in states.items():
        if state != "new" and cfg.train.get("recipe") != "auto":  # what a recipe chooses is known after the data
            refuse_changes(configs[percent])
    if left := [percent for percent in percents if states[percent] != "finished"]:
        preflight(configs[left[0]])


def refuse_changes(cfg: Config, *, resolved: bool = False) -> None:
    """Raise `ConfigError` that names every setting in which a share's run, when it began, differs from `cfg`.

    `resolved` says that `cfg` has every default of `train` filled in, so a key that was removed is also found.
    """
    if changed := changed_settings(record_of(cfg.output_dir), cfg, resolved=resolved):
        lines = "\n".join(f"  {line}" for line in changed)
        raise ConfigError(
            f"{cfg.output_dir}: this run of the curve has other settings, so the runs would not be comparable\n"
            f"{lines}\nSet them as there, choose another train.output_dir, or delete {cfg.output_dir.parent} to begin "
            "again"
        )


def curve_folder(cfg: Config) -> Path:
    """Return the folder of the whole curve."""
    return Path(f"{cfg.output_dir}-curve")


def share_folder(cfg: Config, percent: int) -> Path:
    """Return the run folder of a share."""
    return curve_folder(cfg) / f"{percent:03d}"


def run_state(cfg: Config, percent: int) -> RunState:
    """Return how far a share's run is. One that left nothing to go on with is new, and takes the place of its rest."""
    files = RunLayout(share_folder(cfg, percent))
    work = files.unfinished
    if has_unfinished(files.path):
        if RunLayout(work).file_list.exists():  # finished, and about to take its place
            return "interrupted"
        has_partial_ones = any(step_of(path) >= 0 for path in work.glob("checkpoint-*"))
        can_resume = not cfg.train.get("save_only_model") and (checkpoints(work) or not has_partial_ones)
        return "interrupted" if can_resume else "new"
    return "finished" if files.config.is_file() and _has_final_metrics(files.metrics) else "new"


def record_of(run: Path) -> Path:
    """Return the folder that holds what is known of a share's run: its own, or that of the unfinished one in it."""
    unfinished = RunLayout(run).unfinished
    return unfinished if RunLayout(unfinished).config.is_file() else run


def run_configs(cfg: Config, percents: Sequence[int]) -> dict[int, Config]:
    """Return the configuration of every share's run, before its sessions are counted. Only one run judges the base."""
    judge = _base_judge(cfg, percents)
    return {percent: _run_config(cfg, percent, judges_base=percent == judge) for percent in percents}


def n_sessions_of(percent: int, available: Sequence[int]) -> int:
    """Return how many training sessions a share has, from how many each source has."""
    return sum(n_sessions * percent // ALL for n_sessions in available)


def share_of_sessions(cfg: Config, percent: int, *, available: Sequence[int]) -> Config:
    """Return a share's configuration, limited to its part of the training sessions that each source has.

    Raises `DataError` for a source that has too few.
    """
    if percent == ALL:
        return cfg
    sources = []
    for source, n_sessions in zip(cfg.data.sources, available, strict=True):
        n_used = n_sessions * percent // ALL
        if n_used == 0:
            raise DataError(
                f"{source.dataset_name}: {percent}% of {n_sessions} training sessions is less than one; give more "
                "sessions, or larger shares with --shares"
            )
        sources.append(source.model_copy(update={"max_sessions": n_used}))
    return cfg.model_copy(update={"data": cfg.data.model_copy(update={"sources": sources})})


def _run_config(cfg: Config, percent: int, *, judges_base: bool) -> Config:
    folder = share_folder(cfg, percent)
    name = cfg.train.get("run_name") or curve_folder(cfg).name
    train: dict[str, Any] = {key: value for key, value in cfg.train.items() if key != "resume_from_checkpoint"}
    train |= {"output_dir": str(folder), "run_name": f"{name}-{folder.name}", "push_to_hub": False}
    train |= _start(run_state(cfg, percent))
    changes: dict[str, Any] = {"train": train, "eval": cfg.eval.model_copy(update={"evaluate_base": judges_base})}
    if percent != ALL and not cfg.data.sources:
        only = SourceConfig(dataset_name=cfg.data.dataset_name or "", revision=cfg.data.revision)
        listed = {"dataset_name": None, "revision": None, "sources": [only]}
        changes["data"] = cfg.data.model_copy(update=listed)
    return cfg.model_copy(update=changes)


def _start(state: RunState) -> Mapping[str, Any]:
    """The keys of `train` with which a run goes on, or takes the place of what cannot go on."""
    if state == "interrupted":
        return {"resume_from_checkpoint": True, "overwrite_output_dir": False}
    return {"overwrite_output_dir": True}


def _base_judge(cfg: Config, percents: Sequence[int]) -> int | None:
    """The share whose run judges the base model: the one that began to, or else the first that is trained now."""
    if not cfg.eval.evaluate_base:
        return None
    not_begun = []
    for percent in percents:
        recorded = RunLayout(record_of(share_folder(cfg, percent))).config
        if run_state(cfg, percent) == "new" or not recorded.is_file():
            not_begun.append(percent)
        elif load_config(recorded).eval.evaluate_base:
            return percent
    return next(iter(not_begun), None)


def _has_final_metrics(metrics: Path) -> bool:
    try:
        return FINAL in read_object(metrics.read_bytes())
    except (OSError, DataError):
        return False
