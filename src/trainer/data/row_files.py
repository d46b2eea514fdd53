"""Read files of conversations row by row, exactly as they are written. Interprets no conversation.

`datasets` reads JSON through Arrow, which gives every row the keys of all the others, with nulls. Here each row of a
JSON file stays text until it is read.
"""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import datasets

from trainer.config.schema import DataConfig
from trainer.data.sources import load_split
from trainer.errors import DataError
from trainer.hub import resolve_dataset

TEXT, PLACE = "row_as_json", "row_place"
"""The columns of rows from JSON files: the row as text, and where it is."""

_SPLIT = re.compile(r"(?P<name>[\w.-]+)(?:\[(?P<start>-?\d+%?)?:(?P<stop>-?\d+%?)?\])?")


def has_split(data: DataConfig, split: str) -> bool:
    """Whether local data has the split; True for data that is not local, which only loading can tell."""
    path = Path(data.dataset_name).expanduser()
    name = split.partition("[")[0]
    if path.is_file():
        return name == "train"
    return not path.is_dir() or any(path.rglob(f"{name}[.-]*")) or any(path.rglob(f"{name}/*"))


def load_rows(data: DataConfig, split: str) -> datasets.Dataset:
    """Return the rows of a split. A single file has only the split `train`; slices such as `train[:90%]` work.

    Raises `DataError`, which names the file, if it cannot be read.
    """
    resolve_dataset(data.dataset_name, data.revision)  # what is wrong with the name is said before it is looked for
    path = Path(data.dataset_name).expanduser()
    parts = _SPLIT.fullmatch(split)
    if parts is None:
        raise DataError(f"split {split!r}: must be a name, or a slice such as train[:100] or train[90%:]")
    file = _json_file(path, parts["name"])
    if file is None:
        return load_split(data, split, columns=())
    if path.is_file() and parts["name"] != "train":
        raise DataError(f"data.dataset_name: {path} is one file, which has only the split train, not {split!r}")
    stat = file.stat()  # a changed file is read again
    state = f"{stat.st_size} {stat.st_mtime_ns}"
    try:
        rows = datasets.Dataset.from_generator(
            _numbered, gen_kwargs={"path": str(file), "state": state}, features=_FEATURES
        )
    except datasets.exceptions.DatasetGenerationError as error:
        raise DataError(f"data.dataset_name: {file} cannot be read: {error.__cause__ or error}") from error
    except ValueError:
        raise DataError(f"data.dataset_name: {file} has no rows") from None
    assert isinstance(rows, datasets.Dataset)
    start, stop = (_position(parts[key], len(rows)) for key in ("start", "stop"))
    return rows if start is None and stop is None else rows.select(range(*slice(start, stop).indices(len(rows))))


def row_value(row: dict[str, Any]) -> Any:
    """Return what a row holds: the parsed text of a JSON file, or the row itself. Raises `DataError`."""
    if TEXT not in row:
        return row
    try:
        return json.loads(row[TEXT])
    except ValueError as error:
        raise DataError(f"not valid JSON: {error}") from None
    except RecursionError:
        raise DataError("nested too deeply; make the row flatter") from None


_FEATURES = datasets.Features({TEXT: datasets.Value("large_string"), PLACE: datasets.Value("string")})


def _json_file(path: Path, name: str) -> Path | None:
    if path.is_file():
        return path if path.suffix in (".jsonl", ".json") else None
    files = (path / f"{name}{suffix}" for suffix in (".jsonl", ".json"))
    return next((file for file in files if file.is_file()), None)


def _numbered(path: str, state: str) -> Iterator[dict[str, str]]:
    file = Path(path)
    if file.suffix == ".jsonl":
        with file.open(encoding="utf-8") as lines:
            for number, line in enumerate(lines, start=1):
                if line.strip():
                    yield {TEXT: line, PLACE: f"{path}:{number}"}
        return
    values = json.loads(file.read_text(encoding="utf-8"))
    if not isinstance(values, list):
        raise ValueError("it must hold a list of rows; a file with one row per line is called .jsonl")
    for number, value in enumerate(values, start=1):
        yield {TEXT: json.dumps(value, ensure_ascii=False), PLACE: f"{path}, row {number}"}


def _position(text: str | None, n_rows: int) -> int | None:
    if text is None:
        return None
    return int(text[:-1]) * n_rows // 100 if text.endswith("%") else int(text)
