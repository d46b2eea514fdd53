"""Find where a run goes on, and refuse to go on with another run. Loads no weights."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from trainer.config import Config, load_config
from trainer.errors import ConfigError, DataError, OutputError
from trainer.run_layout import RunLayout
from trainer.training.recovery.checkpoints import checkpoints, missing_files, step_of
from trainer.training.run_place import has_unfinished
from trainer.util.records import read_object

_KEY = "train.resume_from_checkpoint"
_N_SHOWN = 5

# Keys of `train` that change nothing about the rows, the steps or the metrics of a run.
_FREE = frozenset({
    "output_dir", "overwrite_output_dir", "resume_from_checkpoint", "report_to", "run_name", "project", "logging_dir",
    "log_level", "log_level_replica", "disable_tqdm", "dataloader_num_workers", "dataloader_prefetch_factor",
    "dataloader_pin_memory", "dataloader_persistent_workers", "save_total_limit", "push_to_hub", "hub_model_id",
    "hub_private_repo", "hub_strategy", "hub_token", "hub_revision", "hub_always_push", "logging_nan_inf_filter",
    "skip_memory_metrics", "ddp_timeout", "trackio_space_id", "fsdp_config", "accelerator_config",
    "restore_callback_states_from_checkpoint", "recipe", "gradient_checkpointing", "gradient_checkpointing_kwargs",
})  # fmt: skip


@dataclass(frozen=True, slots=True)
class Start:
    """Where a run starts: from a checkpoint, or from its first step. `record` is the folder of the run it goes on."""

    checkpoint: Path | None = None
    record: Path | None = None
    is_finished: bool = False

    def goes_on_in(self, out: Path) -> bool:
        """Whether the run goes on in the output folder in which it was interrupted."""
        return self.record is not None and self.record.resolve() == RunLayout(out).unfinished.resolve()


def find_start(cfg: Config) -> Start:
    """Return where the configured run starts. Raises `OutputError` and `ConfigError`."""
    wanted = cfg.train.get("resume_from_checkpoint")
    if not wanted:
        return Start()
    if cfg.train.get("save_only_model"):
        raise ConfigError(f"{_KEY}: checkpoints of train.save_only_model=true cannot be resumed")
    start = _newest(cfg.output_dir) if wanted is True else _named(Path(str(wanted)).expanduser())
    if start.record is not None:
        _check_same(cfg, start.record)
    return start


def _newest(out: Path) -> Start:
    """The newest complete checkpoint of the unfinished run; its first step if it has none yet."""
    files = RunLayout(out)
    if files.unfinished.is_dir() and RunLayout(files.unfinished).file_list.exists():
        return Start(record=files.unfinished, is_finished=True)
    if has_unfinished(out):
        found = checkpoints(files.unfinished)
        if not found and any(step_of(path) >= 0 for path in files.unfinished.glob("checkpoint-*")):
            raise OutputError(
                f"{_KEY}: {files.unfinished} has checkpoints, but none is complete; set "
                "train.overwrite_output_dir=true without --resume to begin again"
            )
        return Start(found[0] if found else None, files.unfinished)
    if files.config.is_file() and files.metrics.is_file():
        return Start(record=out, is_finished=True)
    state = f"it holds {_listing(out)}" if out.is_dir() else "there is no such folder"
    raise OutputError(f"{_KEY}: {out} holds no run to go on with ({state}); leave --resume out to start one")


def _named(checkpoint: Path) -> Start:
    if not checkpoint.is_dir():
        parent = checkpoint.parent
        there = f"{parent} holds {_listing(parent)}" if parent.is_dir() else f"there is no folder {parent} either"
        raise OutputError(f"{_KEY}: there is no folder {checkpoint}; {there}")
    missing = missing_files(checkpoint)
    if missing or step_of(checkpoint) < 0:
        named = ", ".join(missing[:_N_SHOWN]) or "its name is not checkpoint-STEP"
        raise OutputError(f"{_KEY}: {checkpoint} is no complete checkpoint (missing or cut off: {named})")
    if not RunLayout(checkpoint.parent).config.is_file():
        raise OutputError(
            f"{_KEY}: {checkpoint} does not lie in a run's folder ({checkpoint.parent} has no "
            f"{RunLayout(checkpoint.parent).config.name}), so nothing shows that it belongs to this configuration"
        )
    return Start(checkpoint, checkpoint.parent)


def _listing(folder: Path) -> str:
    names = sorted(path.name for path in folder.iterdir() if not path.name.startswith("."))
    shown = ", ".join(names[:_N_SHOWN]) + (f" and {len(names) - _N_SHOWN} more" if len(names) > _N_SHOWN else "")
    return shown or "nothing"


def _check_same(cfg: Config, record: Path) -> None:
    """Raise `ConfigError` that names every setting in which the recorded run differs."""
    _refuse(RunLayout(record).config, changed_settings(record, cfg))


def check_resolved(record: Path, cfg: Config) -> None:
    """Refuse settings of `train` and `lora`, with all defaults filled in, that differ from the recorded ones.

    Raises `ConfigError`.
    """
    recorded = RunLayout(record).config
    if recorded.is_file():
        _refuse(recorded, list(_resolved_differences(cfg, load_config(recorded))))


def changed_settings(record: Path, cfg: Config, *, resolved: bool = False) -> list[str]:
    """Return a line on every setting in which the run in `record` differs from `cfg`; empty if it wrote none yet.

    Keys of `train` that `cfg` does not have are left out, unless it is `resolved`: then all their defaults are filled
    in. Where a run is, and what it is called, makes no difference.
    """
    recorded = RunLayout(record).config
    if not recorded.is_file():
        return []
    earlier = load_config(recorded)
    more = _resolved_differences(cfg, earlier) if resolved else ()
    return list(dict.fromkeys((*_differences(cfg, earlier), *more)))


def _resolved_differences(cfg: Config, earlier: Config) -> Iterator[str]:
    for key in {**earlier.train, **cfg.train}:
        if key not in _FREE and earlier.train.get(key) != cfg.train.get(key):
            yield f"train.{key}: {earlier.train.get(key)!r} there, {cfg.train.get(key)!r} here"
    now, then = cfg.lora.model_dump(mode="json"), earlier.lora.model_dump(mode="json")
    for key in now:
        if now[key] != then[key]:
            yield f"lora.{key}: {then[key]!r} there, {now[key]!r} here"


def _refuse(recorded: Path, differences: list[str]) -> None:
    if differences:
        lines = "\n".join(f"  {line}" for line in differences)
        raise ConfigError(
            f"{_KEY}: the run in {recorded.parent} has other settings, so it cannot go on with these\n{lines}\n"
            "Set them as there, or start a new run in another folder"
        )


def _differences(cfg: Config, earlier: Config) -> Iterator[str]:
    for section in ("data", "model", "lora", "eval"):
        now, then = cfg[section].model_dump(mode="json"), earlier[section].model_dump(mode="json")
        chosen = cfg.train.get("recipe") == "auto" and section == "lora"  # compared when they are chosen again
        for key in cfg.lora.model_fields_set if chosen else now:
            if now[key] == "auto" and key == "selection_share":
                continue  # the fingerprint of the data covers who is held out
            if now[key] != then[key] and key not in ("num_proc", "revision", "tokenizer_revision", "sources"):
                yield f"{section}.{key}: {then[key]!r} there, {now[key]!r} here"
    for key, value in cfg.train.items():
        if key not in _FREE and key in earlier.train and value != earlier.train[key]:
            yield f"train.{key}: {earlier.train[key]!r} there, {value!r} here"


def check_data(record: Path, environment: Mapping[str, Any]) -> list[str]:
    """Refuse data that changed since the run began; return notes on versions that did. Raises `DataError`."""
    earlier = _recorded_environment(record)
    if earlier is None:
        return []
    if has_other_data(record, environment["data_fingerprint"]):
        raise DataError(
            f"{_KEY}: the data has changed since the run in {record} began (its rows have another fingerprint); "
            "restore it, or start a new run in another folder"
        )
    then, now = earlier.get("versions") or {}, environment["versions"]
    return [
        f"{name} was {then[name]} when the run began and is {now[name]}; the result may differ in the last digits"
        for name in now
        if name in then and then[name] != now[name]
    ]


def has_other_data(record: Path, fingerprint: str | None) -> bool:
    """Return whether the run in `record` began with data of another fingerprint; false if it wrote none yet."""
    earlier = _recorded_environment(record)
    return earlier is not None and earlier.get("data_fingerprint") != fingerprint


def _recorded_environment(record: Path) -> dict[str, Any] | None:
    try:
        return read_object(RunLayout(record).environment.read_bytes())
    except (OSError, DataError):
        return None  # interrupted before its first file
