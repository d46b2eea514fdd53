"""The run folder: refuse or replace an old one, and write what explains the run. Computes nothing."""

import json
import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from trainer.errors import OutputError
from trainer.evaluation import Evaluation
from trainer.run_layout import SERVED_FOLDER
from trainer.scoring.predictions import write_predictions
from trainer.types import Tool

_MARKER = "config.resolved.yaml"
_PACKAGES = ("torch", "transformers", "peft", "accelerate", "datasets", "tokenizers", "llm-tool-call-sft")


class RunFolder:
    """`<output_dir>` of one run. Every file in it is written whole or not at all."""

    def __init__(self, path: Path, tools: tuple[Tool, ...]) -> None:
        self.path = path
        self._tools = tools

    def write_text(self, name: str, text: str) -> Path:
        """Write a file beside its place and move it there."""
        target = self.path / name
        target.parent.mkdir(parents=True, exist_ok=True)
        scratch = target.with_name(f".{target.name}.{os.getpid()}")
        scratch.write_text(text, encoding="utf-8")
        scratch.replace(target)
        return target

    def write_json(self, name: str, value: Any) -> Path:
        """Write a value as indented JSON; infinities and NaN are refused, since they are no JSON."""
        return self.write_text(name, json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n")

    def append_history(self, record: Mapping[str, Any]) -> None:
        """Add a line to `history.jsonl`."""
        with (self.path / "history.jsonl").open("a", encoding="utf-8") as file:
            file.write(json.dumps(record, ensure_ascii=False) + "\n")

    def write_evaluation(self, name: str, evaluation: Evaluation) -> None:
        """Write `predictions/<name>.jsonl`, one line per judged turn, with its verdict."""
        target = self.path / "predictions" / f"{name}.jsonl"
        write_predictions(target, evaluation.predictions, self._tools, verdicts=evaluation.scores.verdicts)


def claim(path: Path, *, overwrite: bool, resume: bool) -> None:
    """Make sure that a run may write into `path`. Nothing is created or removed yet.

    A folder with content is refused, unless the run resumes in it, or may overwrite it and an earlier run
    made it. Raises `OutputError`.
    """
    if not path.exists():
        return
    if not path.is_dir():
        raise OutputError(f"train.output_dir: {path} is a file; name a folder")
    if resume or all(item.name == SERVED_FOLDER for item in path.iterdir()):
        return
    if not overwrite:
        raise OutputError(
            f"train.output_dir: {path} is not empty; choose another folder, or set train.overwrite_output_dir=true"
        )
    if not (path / _MARKER).is_file():
        raise OutputError(
            f"train.output_dir: {path} holds files that no run wrote (it has no {_MARKER}); it is not overwritten. "
            "Choose another folder or empty it yourself"
        )


def prepare(path: Path, *, overwrite: bool, resume: bool) -> None:
    """Create the folder, empty of an earlier run where that may be overwritten."""
    if overwrite and not resume and (path / _MARKER).is_file():
        shutil.rmtree(path)
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"train.output_dir: {path} cannot be created: {error.strerror}") from error


def environment(*, seed: int, data_fingerprint: str | None) -> dict[str, Any]:
    """What a run depended on besides its configuration: versions, commit, hardware, seed, data."""
    import torch

    gpus = [torch.cuda.get_device_name(index) for index in range(torch.cuda.device_count())]
    return {
        "python": sys.version.split()[0],
        "platform": platform.platform(),
        "cpu": torch.cpu.get_capabilities().get("cpu_name", platform.processor()),
        "n_cpu_threads": torch.get_num_threads(),
        "gpus": gpus,
        "versions": {name: _version(name) for name in _PACKAGES},
        "git_commit": _git_commit(),
        "seed": seed,
        "data_fingerprint": data_fingerprint,
    }


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _git_commit() -> str | None:
    command = ["git", "describe", "--always", "--dirty", "--abbrev=40"]
    try:
        result = subprocess.run(command, capture_output=True, text=True, cwd=Path(__file__).parent, check=False)
    except OSError:
        return None
    return result.stdout.strip() or None
