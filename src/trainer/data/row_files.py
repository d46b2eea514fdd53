"""Read the rows of a split, JSON files exactly as they are written. Interprets no conversation.

`datasets` reads JSON through Arrow, which gives every row the keys of all the others, with nulls. Here each row of a
JSON file stays text until it is read.
"""

import json
import re
from collections.abc import Iterator, Mapping
from contextlib import suppress
from itertools import islice
from pathlib import Path
from typing import Any, NoReturn

import datasets

from trainer.config.schema import SourceConfig
from trainer.data.sources import load_split
from trainer.errors import DataError
from trainer.hub import resolve_dataset
from trainer.values.json_reader import load_json
from trainer.values.places import described

TEXT, PLACE = "row_as_json", "row_place"
"""The columns of rows from JSON files: the row as text, and where it is. Other rows have only the second."""

_SPLIT = re.compile(r"(?P<name>[\w.-]+)(?:\[(?P<start>-?\d+%?)?:(?P<stop>-?\d+%?)?\])?")


def has_split(source: SourceConfig, split: str) -> bool:
    """Whether the data has the split. True for a hub dataset that cannot be asked: loading it says why."""
    path = Path(source.dataset_name).expanduser()
    name = split.partition("[")[0]
    if path.is_file():
        return name == "train"
    if path.is_dir():
        return any(path.rglob(f"{name}[.-]*")) or any(path.rglob(f"{name}/*"))
    commit = resolve_dataset(source.dataset_name, source.revision).commit
    try:
        return name in datasets.get_dataset_split_names(source.dataset_name, revision=commit)
    except (OSError, ValueError, datasets.exceptions.DatasetNotFoundError):
        return True


def load_rows(source: SourceConfig, split: str) -> datasets.Dataset:
    """Return the rows of a split. A single file has only the split `train`; slices such as `train[:90%]` work.

    Raises `DataError`, which names the file, if it cannot be read.
    """
    # What is wrong with the name is said before it is looked for.
    resolve_dataset(source.dataset_name, source.revision)
    path = Path(source.dataset_name).expanduser()
    parts = _SPLIT.fullmatch(split)
    if parts is None:
        raise DataError(f"split {split!r}: must be a name, or a slice such as train[:100] or train[90%:]")
    file = _json_file(path, parts["name"])
    if file is None:
        rows = load_split(source, split)
        where = f"{path}," if path.is_file() and split == "train" else f"{source.dataset_name}[{split}]"
        places = [f"{where} row {number}" for number in range(1, len(rows) + 1)]
        return rows.add_column(PLACE, places)
    if path.is_file() and parts["name"] != "train":
        raise DataError(f"data.dataset_name: {path} is one file, which has only the split train, not {split!r}")
    stat = file.stat()  # a changed file is read again
    state = f"{stat.st_size} {stat.st_mtime_ns}"
    try:
        rows = datasets.Dataset.from_generator(
            _numbered, gen_kwargs={"path": str(file), "state": state}, features=_FEATURES
        )
    except datasets.exceptions.DatasetGenerationError as error:
        cause = error.__cause__ or error
        remedy = "; save it as UTF-8" if isinstance(cause, UnicodeDecodeError) else ""
        raise DataError(f"data.dataset_name: {file} cannot be read: {cause}{remedy}") from error
    except ValueError:
        raise DataError(f"data.dataset_name: {file} has no rows") from None
    assert isinstance(rows, datasets.Dataset)
    start, stop = (_position(parts[key], len(rows)) for key in ("start", "stop"))
    return rows if start is None and stop is None else rows.select(range(*slice(start, stop).indices(len(rows))))


def row_value(row: dict[str, Any]) -> Any:
    """Return what a row holds: the parsed text of a JSON file, or the row's own columns. Raises `DataError`."""
    if TEXT not in row:
        return {name: value for name, value in row.items() if name != PLACE}
    try:
        return load_json(row[TEXT])
    except ValueError as error:
        raise DataError(f"not valid JSON: {error}") from None
    except RecursionError:
        raise DataError("nested too deeply; make the row flatter") from None


def sample_rows(rows: datasets.Dataset, n_rows: int) -> list[Mapping[str, Any]]:
    """Return the first rows, without those that cannot be read: every row is read later, and refused by name then."""
    sample = []
    for row in islice(rows, n_rows):
        with suppress(DataError):
            sample.append(row_value(row))
    return [value for value in sample if isinstance(value, Mapping)]


def refuse_without_objects(rows: datasets.Dataset, *, source: str) -> NoReturn:
    """Raise `DataError` for rows of which `sample_rows` found none, with what the first one is."""
    try:
        found = f"the row is {described(row_value(rows[0]))}"
    except DataError as error:
        found = str(error)
    raise DataError(
        f"{source}: none of the first rows is a JSON object; each row must be one. The first one, {place_of(rows[0])}: "
        f"{found}"
    )


def place_of(row: dict[str, Any]) -> str:
    """Return where a row is: `file:line`, or dataset, split and number."""
    return str(row[PLACE])


_FEATURES = datasets.Features({TEXT: datasets.Value("large_string"), PLACE: datasets.Value("string")})


def _json_file(path: Path, name: str) -> Path | None:
    if path.is_file():
        return path if path.suffix in (".jsonl", ".json") else None
    files = (path / f"{name}{suffix}" for suffix in (".jsonl", ".json"))
    return next((file for file in files if file.is_file()), None)


def _numbered(path: str, state: str) -> Iterator[dict[str, str]]:
    file = Path(path)
    if file.suffix == ".jsonl":
        with file.open(encoding="utf-8-sig") as lines:  # some editors write a byte order mark
            for number, line in enumerate(lines, start=1):
                if line.strip():
                    yield {TEXT: line, PLACE: f"{path}:{number}"}
        return
    try:
        values = load_json(file.read_text(encoding="utf-8-sig"))
    except RecursionError:
        raise ValueError("it is nested too deeply; make it flatter") from None
    if not isinstance(values, list):
        raise ValueError("it must hold a list of rows; a file with one row per line is called .jsonl")
    for number, value in enumerate(values, start=1):
        yield {TEXT: json.dumps(value, ensure_ascii=False), PLACE: f"{path}, row {number}"}


def _position(text: str | None, n_rows: int) -> int | None:
    if text is None:
        return None
    return int(text[:-1]) * n_rows // 100 if text.endswith("%") else int(text)
