"""Read a domain's input: dataset splits and prompt templates. Interprets no conversation."""

from pathlib import Path

import datasets

from trainer.config.schema import SourceConfig
from trainer.errors import DataError
from trainer.hub import DATASET, hub_failure, resolve_dataset
from trainer.hub.dataset_cache import load_hub_split
from trainer.util.library_bars import dataset_bars

_BUILDERS = {".jsonl": "json", ".json": "json", ".parquet": "parquet", ".csv": "csv", ".arrow": "arrow"}


def load_split(source: SourceConfig, split: str) -> datasets.Dataset:
    """Return one split of the configured dataset: a hub id, at one commit, a local folder, or a local file.

    A single file has only the split `train`; `train[:90%]` and `train[90%:]` cut it in two.
    Raises `DataError` if the dataset or the split is missing.
    """
    name = source.dataset_name
    found = resolve_dataset(name, source.revision)
    path = Path(name).expanduser()
    try:
        with dataset_bars(f"Reading {name}", unit="rows"):
            if path.is_file():
                loaded = datasets.load_dataset(_builder(path), data_files=str(path), split=split)
            elif path.is_dir():
                loaded = datasets.load_dataset(str(path), split=split)
            else:
                loaded = load_hub_split(found, split)
    except DataError:
        raise
    except (OSError, datasets.exceptions.DatasetNotFoundError) as error:
        failure = None if found.commit is None else hub_failure(error, DATASET, name, revision=source.revision)
        raise failure or DataError(
            f"data.dataset_name: {name} cannot be loaded: {' '.join(str(error).split())}"
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
