"""Checkpoints that are there whole or not at all. Knows no model."""

import errno
import json
import os
import re
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from trainer.errors import OutputError
from trainer.util.files import replace_json

COMPLETE_FILE = "complete.json"
"""The last file of a checkpoint: the sizes of the others, in bytes."""

_FAILURES_OF_DISKS = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO, errno.EROFS)

_N_FILES_NAMED = 3
_NAME = re.compile(r"checkpoint-(\d+)")


def checkpoint_name(step: int) -> str:
    """Return the name of a checkpoint's folder, the same as transformers uses."""
    return f"checkpoint-{step}"


def step_of(checkpoint: Path) -> int:
    """Return the number of optimizer steps before a checkpoint; -1 if the folder has another name."""
    found = _NAME.fullmatch(checkpoint.name)
    return int(found[1]) if found else -1


@contextmanager
def whole_checkpoint(place: Path, *, writes: bool, wait: Callable[[], None]) -> Iterator[Path]:
    """Yield a folder that becomes the checkpoint at `place` when the block ends. After an error it is gone.

    Every process takes part; `writes` is true for the one that writes, and `wait` waits for all of them. The files are
    on the disk before the folder gets its name, so that a machine may stop at any moment. Raises `OutputError`.
    """
    folder = place.with_name(f".{place.name}.partial")
    if writes:
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
    wait()
    try:
        yield folder
        wait()
        if writes:
            sizes = {path.relative_to(folder).as_posix(): path.stat().st_size for path in _files(folder)}
            replace_json(folder / COMPLETE_FILE, sizes)
            for path in (*_files(folder), folder):
                _to_disk(path)
            shutil.rmtree(place, ignore_errors=True)
            folder.rename(place)
            _to_disk(place.parent)
    except BaseException as error:
        if writes:
            shutil.rmtree(folder, ignore_errors=True)
        reason = disk_failure(error)
        if reason is None:
            raise
        raise OutputError(f"{place}: the checkpoint cannot be written: {reason}") from error
    wait()


def disk_failure(error: BaseException) -> str | None:
    """Return why a library could not write a file, or None if the error is of another kind.

    torch and safetensors do not raise `OSError`.
    """
    if isinstance(error, OSError):
        return (error.strerror or str(error)) if error.errno in _FAILURES_OF_DISKS else None
    text = str(error)
    if re.search(r"No space left|File too large|Disk quota|I/O error|os error \d+", text):
        return text.strip().splitlines()[0]
    if re.search(r"PytorchStreamWriter|unexpected pos|inline_container", text):
        return "the disk is full, or takes no larger file"
    return None


def missing_files(checkpoint: Path) -> list[str]:
    """Return the files that a checkpoint lacks, or that are shorter than they were; empty if it is complete."""
    try:
        sizes = json.loads((checkpoint / COMPLETE_FILE).read_text(encoding="utf-8"))
        pairs = [(str(name), int(size)) for name, size in sizes.items()]
    except (FileNotFoundError, NotADirectoryError, ValueError, AttributeError, TypeError):
        return [COMPLETE_FILE]
    except OSError as error:  # not a reason to begin again
        raise OutputError(f"{checkpoint}: cannot be read: {error.strerror or error}") from error
    return [name for name, size in pairs if not _has_size(checkpoint / name, size)]


def checkpoints(folder: Path) -> list[Path]:
    """Return the complete checkpoints in a folder, the newest first."""
    return [path for path in _newest_first(folder) if not missing_files(path)]


def incomplete_lines(folder: Path) -> list[str]:
    """Return a line on each incomplete checkpoint in a folder."""
    found = [(path, missing_files(path)) for path in _newest_first(folder)]
    return [
        f"{path}: incomplete checkpoint, not used (missing or cut off: {', '.join(missing[:_N_FILES_NAMED])})"
        for path, missing in found
        if missing
    ]


def _newest_first(folder: Path) -> list[Path]:
    return sorted((path for path in folder.glob("checkpoint-*") if step_of(path) >= 0), key=step_of, reverse=True)


def keep_until(folder: Path, step: int) -> None:
    """Remove what an interrupted run wrote after a checkpoint: later and incomplete checkpoints."""
    for path in folder.glob("checkpoint-*"):
        if step_of(path) > step or (step_of(path) >= 0 and missing_files(path)):
            shutil.rmtree(path, ignore_errors=True)
    for path in folder.glob(".checkpoint-*.partial"):
        shutil.rmtree(path, ignore_errors=True)


def _files(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()]


def _has_size(path: Path, size: int) -> bool:
    return path.is_file() and path.stat().st_size == size


def _to_disk(path: Path) -> None:
    if path.is_file():
        with path.open("r+b") as file:
            os.fsync(file.fileno())
        return
    with suppress(OSError):  # Windows cannot open folders, and some network file systems cannot sync them
        handle = os.open(path, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
