"""Read a domain's input: dataset splits and prompt templates. Interprets no conversation."""

from pathlib import Path

import datasets

from trainer.config.schema import SourceConfig
from trainer.errors import DataError

_BUILDERS = {".jsonl": "json", ".json": "json", ".parquet": "parquet", ".csv": "csv", ".arrow": "arrow"}


def load_split(source: SourceConfig, split: str) -> datasets.Dataset:
    """Return one split of the configured dataset: a hub id, a local folder, or a local file.

    A single file has only the split `train`; `train[:90%]` and `train[90%:]` cut it in two.
    Raises `DataError` if the dataset or the split is missing.
    """
    name = source.dataset_name
    path = Path(name).expanduser()
    try:
        if path.is_file():
            loaded = datasets.load_dataset(_builder(path), data_files=str(path), split=split)
        else:
            loaded = datasets.load_dataset(str(path) if path.is_dir() else name, split=split)
    except (FileNotFoundError, ConnectionError, datasets.exceptions.DatasetNotFoundError) as error:
        raise DataError(
            f"data.dataset_name: {name} is neither a local path nor a reachable hub dataset: {error}"
        ) from error
    except (ValueError, datasets.exceptions.DatasetGenerationError) as error:
        raise DataError(f"data.dataset_name: {name}, split {split!r}: {error.__cause__ or error}") from error
    return loaded


def read_text(path: Path, *, key: str) -> str:
    """Return the text of a file that the configuration key `key` names. Raises `DataError`."""
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path}: cannot be read: {error}; see {key}") from error


def _builder(path: Path) -> str:
    if path.suffix not in _BUILDERS:
        raise DataError(f"data.dataset_name: {path} has no known file type; use {', '.join(sorted(_BUILDERS))}")
    return _BUILDERS[path.suffix]
