"""Claim the run folder, replace an old one, and write the files that explain a run. Computes nothing."""

import json
import platform
import shutil
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import asdict
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trainer.config import Config
from trainer.errors import OutputError
from trainer.hub import known_sources
from trainer.run_layout import RUN_CONFIG, SERVED_FOLDER, RunLayout
from trainer.scoring.predictions import write_predictions
from trainer.types import Tool
from trainer.util.files import claim_folder, replace_file, replace_json

if TYPE_CHECKING:  # it brings torch, and a folder is claimed before that is needed
    from trainer.evaluation import Evaluation

_PACKAGES = ("torch", "transformers", "peft", "accelerate", "datasets", "tokenizers", "llm-tool-call-sft")
_OPTION = "train.output_dir"


class RunFolder:
    """The output folder of one run. Each file is written completely or not at all, except the history, which grows."""

    def __init__(self, path: Path, tools: tuple[Tool, ...]) -> None:
        self.path = path
        self._tools = tools

    def write_text(self, name: str, text: str) -> None:
        """Write a text file."""
        replace_file(self.path / name, text)

    def write_json(self, name: str, value: Any) -> None:
        """Write a value as indented JSON. Raises `ValueError` for infinity and NaN."""
        replace_json(self.path / name, value)

    def append_history(self, record: Mapping[str, Any]) -> None:
        """Add a line to the history."""
        with RunLayout(self.path).history.open("a", encoding="utf-8") as file:
            file.write(json.dumps(record, ensure_ascii=False) + "\n")

    def write_evaluation(self, name: str, evaluation: "Evaluation") -> None:
        """Write the predictions of an evaluation, one line per judged turn with its verdict."""
        target = RunLayout(self.path).predictions(name)
        write_predictions(target, evaluation.predictions, self._tools, verdicts=evaluation.scores.verdicts)


def claim(path: Path, *, overwrite: bool, resume: bool) -> None:
    """Raise `OutputError` for a folder that a run may not or cannot write into. Creates and removes nothing.

    A folder with content is refused unless the run resumes in it, or may overwrite it and an earlier run wrote it.
    """
    claim_folder(path, option=_OPTION)
    if not path.exists() or resume or all(item.name == SERVED_FOLDER for item in path.iterdir()):
        return
    if not overwrite:
        raise OutputError(
            f"{_OPTION}: {path} is not empty; choose another folder, or set train.overwrite_output_dir=true"
        )
    if not RunLayout(path).config.is_file():
        raise OutputError(
            f"{_OPTION}: {path} is not overwritten, because it holds files that no run wrote (it has no {RUN_CONFIG}). "
            "Choose another folder, or empty it yourself"
        )


def prepare(path: Path, *, overwrite: bool, resume: bool) -> None:
    """Create the folder, and remove an earlier run that may be overwritten. Raises `OutputError`."""
    if overwrite and not resume and RunLayout(path).config.is_file():
        shutil.rmtree(path)
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"{_OPTION}: {path} cannot be created: {error.strerror}") from error


def environment(cfg: Config, *, data_fingerprint: str | None) -> dict[str, Any]:
    """Return what a run depends on besides its configuration: versions, commits, hardware, seed and data."""
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
        "seed": cfg.seed,
        "sources": asdict(known_sources(cfg)),
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
