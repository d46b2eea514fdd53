"""Open the rows to convert: a file, the splits of a folder, or those of a hub dataset. Interprets no row."""

import logging
from pathlib import Path
from typing import NamedTuple

import datasets

from trainer.config.schema import SourceConfig
from trainer.data.row_files import load_rows
from trainer.errors import DataError
from trainer.hub import resolve_dataset
from trainer.values.places import names

logger = logging.getLogger(__name__)


class Source(NamedTuple):
    """The rows of one split. `name` is the split's, and `place` names it in messages."""

    name: str
    rows: datasets.Dataset
    place: str


def open_sources(name: str, split: str | None = None) -> list[Source]:
    """Return the splits of a file, a folder or a hub dataset, or only the one that `split` names.

    Raises `DataError`, at once for a local path that does not exist.
    """
    path = Path(name).expanduser()
    if path.is_file():
        return [_source(name, split or "train", place=name)]
    if not path.exists():
        try:
            resolve_dataset(name)
        except DataError as error:
            reason = str(error).removeprefix("data.dataset_name: ").partition("; if ")[0]  # that names data.revision
            raise DataError(reason) from error
    files = _json_files(path) if path.is_dir() else {}
    if split is not None:
        wanted = split.partition("[")[0]
        if files and wanted not in files:
            raise DataError(f"{name}: has no split {wanted!r}; it has {names(files)}")
        return [_source(name, split, place=f"{name}[{split}]")]
    if files:
        return [_source(str(file), "train", place=str(file))._replace(name=stem) for stem, file in files.items()]
    return [_source(name, found, place=f"{name}[{found}]") for found in _split_names(name)]


def _source(name: str, split: str, *, place: str) -> Source:
    data = SourceConfig(dataset_name=name)
    try:
        return Source(split.partition("[")[0], load_rows(data, split), place)
    except DataError as error:
        raise DataError(str(error).removeprefix("data.dataset_name: ")) from error


def _json_files(folder: Path) -> dict[str, Path]:
    """The files of a folder that are a split each, by its name: JSON Lines if there are any, else JSON."""
    for suffix in (".jsonl", ".json"):
        files = {path.stem: path for path in sorted(folder.glob(f"*{suffix}")) if path.is_file()}
        if files:
            others = sorted(path.name for path in folder.iterdir() if path not in files.values())
            if others:
                logger.info("Not read in %s: %s", folder, names(others))
            return files
    return {}


def _split_names(name: str) -> list[str]:
    try:
        found = datasets.get_dataset_split_names(str(Path(name).expanduser()) if Path(name).exists() else name)
    except (OSError, ValueError) as error:
        raise DataError(f"{name}: is neither a local path with data nor a reachable hub dataset: {error}") from error
    return [str(split) for split in found]
