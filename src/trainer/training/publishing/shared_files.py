"""Which files of a run folder may leave this machine, and their content as others may see it. Sends nothing."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from trainer.errors import OutputError
from trainer.hub import with_shared_names
from trainer.hub.nearby import local_path
from trainer.run_layout import (
    ADAPTER_CONFIG,
    ADAPTER_WEIGHTS,
    CALIBRATION_FILE,
    CHAT_TEMPLATE,
    METRICS_FILE,
    MODEL_CARD,
    TOKENIZER_CONFIG,
)
from trainer.training.finished_run import FinishedRun
from trainer.training.publishing.card_of_run import card_of_run
from trainer.util.secrets import hide, holds_secret

TOKENIZER_FILES = (
    TOKENIZER_CONFIG, "tokenizer.json", "tokenizer.model", "special_tokens_map.json", "added_tokens.json", "vocab.json",
    "vocab.txt", "merges.txt", "spiece.model", "sentencepiece.bpe.model", "additional_chat_templates/tool_use.jinja",
)  # fmt: skip

SHARED_FILES = (
    ADAPTER_CONFIG, ADAPTER_WEIGHTS, *TOKENIZER_FILES, CHAT_TEMPLATE, MODEL_CARD, METRICS_FILE, CALIBRATION_FILE,
)  # fmt: skip
"""Everything that an upload may hold. Whatever else is in a run folder stays there."""

_NEEDED = (ADAPTER_CONFIG, ADAPTER_WEIGHTS, TOKENIZER_CONFIG, CHAT_TEMPLATE)
_NAMING = (ADAPTER_CONFIG, TOKENIZER_CONFIG)
_CHECKED_FOR_PATHS = (ADAPTER_CONFIG, TOKENIZER_CONFIG, CHAT_TEMPLATE, MODEL_CARD, METRICS_FILE)
_FORM = "# Model Card for Model ID"


class SharedFile(NamedTuple):
    """A file to upload: its name, and its content, or the path of a large file."""

    name: str
    content: bytes | Path

    @property
    def n_bytes(self) -> int:
        """The size of the content."""
        return self.content.stat().st_size if isinstance(self.content, Path) else len(self.content)


def shared_files(run: FinishedRun) -> tuple[SharedFile, ...]:
    """Return the files of a run that an upload holds.

    Raises `OutputError` if a needed one is missing, or if one has a secret or a path of this machine in it.
    """
    missing = [name for name in _NEEDED if not (run.path / name).is_file()]
    if missing:
        raise OutputError(
            f"{run.path}: cannot be uploaded, because it has no {', '.join(missing)}; train the run again"
        )
    files = [_shared(run, name) for name in SHARED_FILES if name == MODEL_CARD or (run.path / name).is_file()]
    for file in files:
        _refuse_private(run, file)
    return tuple(files)


def _shared(run: FinishedRun, name: str) -> SharedFile:
    path = run.path / name
    if name == ADAPTER_WEIGHTS:
        return SharedFile(name, path)
    if name == MODEL_CARD:
        return SharedFile(name, _card(run, path).encode())
    if name in _NAMING:
        return SharedFile(name, with_shared_names(path.read_text(encoding="utf-8")).encode())
    return SharedFile(name, path.read_bytes())


def _card(run: FinishedRun, path: Path) -> str:
    """The card in the run folder; a new one if there is none, or only the form that peft writes."""
    text = path.read_text(encoding="utf-8") if path.is_file() else _FORM
    return card_of_run(run.path, run.cfg, _metrics(run.path / METRICS_FILE)) if _FORM in text else text


def _metrics(path: Path) -> Mapping[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}


def _refuse_private(run: FinishedRun, file: SharedFile) -> None:
    content = file.content.read_bytes() if isinstance(file.content, Path) else file.content
    if holds_secret(content):
        raise OutputError(f"{run.path / file.name}: not uploaded, because it holds a token, a key or a password")
    if file.name not in _CHECKED_FOR_PATHS:
        return
    text = content.decode("utf-8", "replace")
    if (found := next((place for place in _places(run) if place in text), None)) is not None:
        raise OutputError(
            hide(f"{run.path / file.name}: not uploaded, because it holds the path {found} of this machine; remove it")
        )


def _places(run: FinishedRun) -> list[str]:
    """The folders of this machine that a file is most likely to name."""
    base = local_path(run.cfg.model.base_model_name)
    folders = [Path.home(), Path.cwd(), run.path.absolute().parent]
    folders += [base] if base.is_absolute() else []
    return [f"{folder}/" if folder in folders[:3] else str(folder) for folder in folders if len(folder.parts) > 1]
