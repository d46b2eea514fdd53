"""A run on a disk that gets full ends in one message, and leaves the last good state. Needs the right to mount."""

import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.training.test_resume import RUN, same_weights
from trainer.config import Config
from trainer.errors import OutputError
from trainer.run_layout import RunLayout
from trainer.training.recovery.checkpoints import checkpoints
from trainer.training.train import train_run

MakeConfig = Callable[..., Config]


@contextmanager
def small_disk(folder: Path, n_kilobytes: int) -> Iterator[None]:
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", f"size={n_kilobytes}k", "tmpfs", str(folder)]
    try:
        done = subprocess.run(command, capture_output=True, check=False)
    except FileNotFoundError:
        pytest.skip("this machine has no mount")
    if done.returncode:
        pytest.skip("mounting is not allowed here")
    try:
        yield
    finally:
        subprocess.run(["umount", str(folder)], check=True)


def size_of(folder: Path) -> int:
    """Return the size of a folder's files in kilobytes, in whole pages."""
    return sum(-(-path.stat().st_size // 4096) * 4 for path in folder.rglob("*") if path.is_file())


def test_a_disk_that_is_surely_too_small_is_refused_before_anything_is_written(
    quick_config: MakeConfig, tmp_path: Path
) -> None:
    disk = tmp_path / "disk"
    with small_disk(disk, 40):
        with pytest.raises(OutputError, match=r"checkpoints need at least [\d.]+ MB, but only 0\.0 MB are free"):
            train_run(quick_config(*RUN, f"train.output_dir={disk / 'run'}"))
        assert not list(disk.iterdir())


@pytest.mark.parametrize(
    ("n_checkpoints", "more", "left"),
    [
        (0, 400, None),  # the configuration, but no checkpoint
        (2, 400, "checkpoint-2"),  # two checkpoints, and a part of the third
        (6, 400, "checkpoint-6"),  # all of them, but not the adapter and its tokenizer
    ],
)
def test_a_full_disk_leaves_the_last_good_state(
    n_checkpoints: int, more: int, left: str | None, quick_config: MakeConfig, tmp_path: Path
) -> None:
    whole = train_run(quick_config(*RUN, f"train.output_dir={tmp_path / 'whole'}"))
    size = n_checkpoints * size_of(whole.output_dir / "checkpoint-1") + more
    disk = tmp_path / "disk"
    cfg = quick_config(*RUN, f"train.output_dir={disk / 'run'}")
    with small_disk(disk, size):
        with pytest.raises(OutputError, match=r"No space left|disk is full") as caught:
            train_run(cfg)
        found = checkpoints(RunLayout(cfg.output_dir).unfinished)
        assert [path.name for path in found[:1]] == ([left] if left else [])
        assert (left or "no checkpoint yet") in str(caught.value)
        assert "--resume" in str(caught.value)
        assert not list(cfg.output_dir.rglob("*.partial"))
        subprocess.run(["mount", "-o", "remount,size=200m", str(disk)], check=True)
        result = train_run(quick_config(*RUN, f"train.output_dir={disk / 'run'}", "train.resume_from_checkpoint=true"))
        assert same_weights(result.output_dir, whole.output_dir)
