"""The place of a run: who may write there, and how a finished run takes the place of an earlier one.

A run is written into a folder inside its output folder. When it is finished, the files of the earlier run are removed
and its own are moved up. Both lists of files are known, so nothing else in the folder is touched, and an interruption
between the two is completed by the next run. Being inside, the unfinished run is on the same file system, even if the
output folder is a mount.
"""

import logging
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import FileLock, Timeout

from trainer.config import Config
from trainer.config.schema import BUILTIN_GUARD
from trainer.errors import OutputError
from trainer.run_layout import LOCK_FILE, RUN_CONFIG, SERVED_FOLDER, RunLayout
from trainer.training.run_files import all_files, list_files, listed_files, move_files, remove_files, written_files
from trainer.util.files import claim_folder, remove_partial

logger = logging.getLogger(__name__)

OPTION = "train.output_dir"
_NO_OBSTACLE = (SERVED_FOLDER, LOCK_FILE)


def claim(path: Path, *, overwrite: bool, resume: bool) -> None:
    """Raise `OutputError` for a folder that a run may not or cannot write into. Creates and removes nothing.

    A folder with content is refused unless the run resumes in it, or may overwrite it and an earlier run wrote it.
    """
    claim_folder(path, option=OPTION)
    if not path.exists():
        return
    if RunLayout(path).lock.exists():
        with _locked(path):
            pass
    if not resume:
        _refuse_content(path, overwrite=overwrite)


def _refuse_content(path: Path, *, overwrite: bool) -> None:
    files = RunLayout(path)
    harmless = (*_NO_OBSTACLE, *(() if has_unfinished(path) else (files.unfinished.name,)))
    if all(item.name in harmless for item in path.iterdir()):
        return
    if not overwrite and has_unfinished(path):
        raise OutputError(
            f"{OPTION}: {path} holds an unfinished run; go on with it by --resume, choose another folder, or set "
            "train.overwrite_output_dir=true to begin again"
        )
    if not overwrite:
        raise OutputError(
            f"{OPTION}: {path} is not empty; choose another folder, or set train.overwrite_output_dir=true"
        )
    if not files.config.is_file() and not has_unfinished(path):
        raise OutputError(
            f"{OPTION}: {path} is not overwritten, because it holds files that no run wrote (it has no {RUN_CONFIG}). "
            "Choose another folder, or empty it yourself"
        )


def check_inputs(cfg: Config, *, resume: bool) -> None:
    """Raise `OutputError` if the run would write over, or remove, something that it reads."""
    out = cfg.output_dir.resolve()
    doomed = [out / name for name in written_files(out)] if out.is_dir() else []
    doomed += [] if resume else [RunLayout(out).unfinished]
    for key, path in _inputs(cfg, resume):
        place = path.expanduser().resolve()
        if place == out:
            raise OutputError(f"{OPTION}: {cfg.output_dir} is {key}, which the run reads; choose another folder")
        if any(place in (file, *file.parents) or file in place.parents for file in doomed if out in place.parents):
            raise OutputError(
                f"{OPTION}: {cfg.output_dir} holds {key} ({path}), which would be removed with the earlier run; "
                "choose another folder"
            )


def _inputs(cfg: Config, resume: bool) -> Iterator[tuple[str, Path]]:
    """Return the local files and folders that a run reads, with their keys."""
    checkpoint = cfg.train.get("resume_from_checkpoint")
    named = {
        "model.base_model_name": cfg.model.base_model_name,
        "data.tokenizer": cfg.data.tokenizer,
        "data.dataset_name": cfg.data.dataset_name,
        "eval.guard_dataset": None if cfg.eval.guard_dataset == BUILTIN_GUARD else cfg.eval.guard_dataset,
        "train.resume_from_checkpoint": checkpoint if isinstance(checkpoint, str) and not resume else None,
        **{f"data.sources[{index}]": source.dataset_name for index, source in enumerate(cfg.data.sources)},
    }
    files = {
        "data.sysprompt_path": cfg.data.sysprompt_path,
        "data.tools_path": cfg.data.tools_path,
        "model.chat_template_path": cfg.model.chat_template_path,
    }
    for key, name in named.items():
        if name and Path(name).expanduser().exists():
            yield key, Path(name)
    for key, path in files.items():
        if path is not None:
            yield key, path


@contextmanager
def open_place(path: Path, *, resume: bool, overwrite: bool = True) -> Iterator[Path]:
    """Lock the output folder and yield the folder in it for the unfinished run; create both.

    An earlier unfinished run is removed, unless this run goes on with it. Raises `OutputError`, also for a folder that
    was free before and is not any more.
    """
    unfinished = RunLayout(path).unfinished
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"{OPTION}: {path} cannot be created: {error.strerror}") from error
    with _locked(path):
        settle(path)
        if not resume:
            _refuse_content(path, overwrite=overwrite)  # another run may have been here since `claim`
        if not resume and unfinished.exists():
            remove_files(unfinished, written_files(unfinished))
        unfinished.mkdir(exist_ok=True)
        remove_partial(list(unfinished.rglob(".*")))
        yield unfinished


def take_place(path: Path) -> None:
    """Let the finished run inside `path` take the place of the earlier one around it. The caller holds the lock."""
    files = RunLayout(path)
    if files.config.exists() and listed_files(path) is None:  # from a version that wrote no list
        list_files(path, written_files(path))
    list_files(files.unfinished, written_files(files.unfinished))
    settle(path)


def settle(path: Path) -> None:
    """Complete the change to a finished run, if one is in progress. The caller holds the lock."""
    files = RunLayout(path)
    for folder in (path, files.unfinished):
        remove_partial(list(folder.glob(f".{files.file_list.name}.*")))
    if listed_files(files.unfinished) is None:
        return
    # Each list is the last of its files to go: while the earlier one is here, nothing new was moved.
    remove_files(path, [*(listed_files(path) or ()), files.file_list.name])
    list_name = files.file_list.name
    new = [name for name in all_files(files.unfinished) if name != list_name]
    for kept in move_files(files.unfinished, path, [*new, list_name]):
        logger.warning(f"{kept}: a file that no run wrote was in the way and has this name now")
    with suppress(OSError):  # somebody put a file there
        files.unfinished.rmdir()


def has_unfinished(path: Path) -> bool:
    """Return whether a run was begun in this output folder and did not finish."""
    unfinished = RunLayout(path).unfinished
    return unfinished.is_dir() and any(unfinished.iterdir())


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    lock = FileLock(RunLayout(path).lock, timeout=0)
    try:
        lock.acquire()
    except Timeout:
        raise OutputError(
            f"{OPTION}: another run is writing into {path}; wait for it, or choose another folder"
        ) from None
    except OSError as error:
        raise OutputError(f"{OPTION}: {path} cannot be locked: {error.strerror or error}") from error
    try:
        yield
    finally:
        lock.release()
