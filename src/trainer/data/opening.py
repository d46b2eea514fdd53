"""Open the configured datasets: both splits of each, held-out sessions, weights and caps. Reads no conversation."""

import logging
from collections.abc import Callable, Mapping, Set
from pathlib import PurePath
from typing import Any, NamedTuple, Protocol

import datasets

from trainer.config import Config
from trainer.config.schema import SourceConfig
from trainer.data.row_files import has_split, load_rows, place_of
from trainer.errors import DataError
from trainer.types import Session, Tool
from trainer.util.ordering import digest_number

logger = logging.getLogger(__name__)

_BUCKETS = 10_000


class ReadRow(NamedTuple):
    """The session of a row, and what was converted to read it: one entry for each conversion."""

    session: Session
    converted: tuple[str, ...] = ()


class RowReader(Protocol):
    """Reads raw rows as sessions. `makes_ids` says that rows have no ids, so the reader derives them from content.

    `tools` are those of sessions whose rows have none of their own.
    """

    @property
    def makes_ids(self) -> bool: ...
    @property
    def tools(self) -> tuple[Tool, ...]: ...
    def row_id(self, row: Mapping[str, Any]) -> object:
        """The row's own id, whatever it is, to name a row that cannot be read."""

    def read(self, row: Mapping[str, Any], *, session_id: str | None = None) -> ReadRow:
        """The session of a row, under its own id or the given one. Raises `DataError`, which names the turn."""


class Part(NamedTuple):
    """The rows of one source in one split, and their reader.

    `label` distinguishes the session ids of several sources; it is empty if there is only one.
    """

    source: SourceConfig
    label: str
    reader: RowReader
    rows: datasets.Dataset

    def full_id(self, row_id: object) -> str:
        """Return a session id that no other source has."""
        return f"{self.label}/{row_id}" if self.label else str(row_id)

    def place(self, index: int) -> str:
        """Return the file and line of a row, or its dataset and number."""
        return place_of(self.rows[index])


class OpenRows(NamedTuple):
    """The rows to train on and the rows to evaluate on, by source."""

    train: tuple[Part, ...]
    evaluation: tuple[Part, ...]


def open_sources(
    cfg: Config, make_reader: Callable[[SourceConfig, datasets.Dataset], RowReader], *, train: bool = True
) -> OpenRows:
    """Open every configured dataset, with the reader that `make_reader` makes after a look at its rows.

    Without `train`, training rows are opened only to hold some out. If a source has no evaluation split, a share of its
    sessions (`data.holdout`) is held out, chosen by their ids.
    Weights below 1 and caps choose training sessions by their ids as well. Raises `DataError`.
    """
    trained, evaluation = [], []
    sources = cfg.data.all_sources()
    for source, label in zip(sources, _labels(sources), strict=True):
        assert source.train_split is not None
        assert source.eval_split is not None
        is_split = has_split(source, source.eval_split)
        judged = load_rows(source, source.eval_split) if is_split else None
        if judged is not None and not train:
            evaluation.append(Part(source, label, make_reader(source, judged), judged))
            continue
        rows = load_rows(source, source.train_split)
        reader = make_reader(source, rows)
        if judged is None and (cfg.data.holdout or len(sources) == 1):
            rows, judged = _held_out(cfg, source, rows, reader)
        trained.append(Part(source, label, reader, _weighted(source, rows, reader)))
        if judged is not None:
            evaluation.append(Part(source, label, reader, judged))
    if not evaluation:
        raise DataError("data.sources: no source has a split to evaluate on, and data.holdout is 0; set one of the two")
    return OpenRows(tuple(trained), tuple(evaluation))


def n_copies(source: SourceConfig, row_id: object) -> int:
    """Return how often a training session is used: the weight, rounded up or down by a hash of the session's id."""
    whole = int(source.weight)
    share = source.weight - whole
    return whole + (_number("weight", row_id) < share * _BUCKETS)


def _weighted(source: SourceConfig, rows: datasets.Dataset, reader: RowReader) -> datasets.Dataset:
    """The rows that are used at least once."""
    if source.weight >= 1 and source.max_sessions is None:
        return rows
    ids = [reader.row_id(row) for row in rows]
    chosen = [index for index, row_id in enumerate(ids) if n_copies(source, row_id)]
    if source.max_sessions is not None:
        chosen = sorted(sorted(chosen, key=lambda index: digest_number(f"cap\0{ids[index]}"))[: source.max_sessions])
    logger.info("%s: %s of %s sessions are used for training", source.dataset_name, len(chosen), len(rows))
    return rows.select(chosen)


def _held_out(
    cfg: Config, source: SourceConfig, rows: datasets.Dataset, reader: RowReader
) -> tuple[datasets.Dataset, datasets.Dataset]:
    """Split rows by a hash of their ids. At least one session is held out, and at least one is left to train on."""
    if cfg.data.holdout == 0 or len(rows) < 2:
        raise DataError(
            f"{source.dataset_name}: has no split {source.eval_split} and nothing to hold out from; add one, set "
            "data.eval_split, or give at least two sessions and data.holdout above 0"
        )
    numbers = [_number("holdout", reader.row_id(row)) for row in rows]
    limit = min(max(cfg.data.holdout * _BUCKETS, min(numbers) + 1), max(numbers))
    held = [index for index, number in enumerate(numbers) if number < limit] or [0]  # all are equal: any will do
    kept = sorted(set(range(len(rows))) - set(held))
    name = source.eval_split
    logger.info("No split %s: %s of %s sessions are held out for evaluation", name, len(held), len(rows))
    return rows.select(kept), rows.select(held)


def _number(purpose: str, row_id: object) -> int:
    return digest_number(f"{purpose}\0{row_id}") % _BUCKETS


def _labels(sources: tuple[SourceConfig, ...]) -> list[str]:
    """A short name for each of several sources, whatever their order: as much of the path as no other source has.

    A dataset that is listed several times is numbered, in the order of its other keys.
    """
    if len(sources) == 1:
        return [""]
    paths = [_without_suffix(PurePath(source.dataset_name)) for source in sources]
    keys = [source.model_dump_json() for source in sources]
    labels = []
    for index, path in enumerate(paths):
        equal = sorted((keys[other], other) for other, one in enumerate(paths) if one == path)
        number = f"#{equal.index((keys[index], index)) + 1}" if len(equal) > 1 else ""
        labels.append(f"{_shortest_name(path, set(paths) - {path})}{number}")
    return labels


def _without_suffix(path: PurePath) -> tuple[str, ...]:
    return (path.with_suffix("") if path.name else path).parts or (".",)


def _shortest_name(path: tuple[str, ...], others: Set[tuple[str, ...]]) -> str:
    """The last parts of a path: as many as it takes to be the end of no other one."""
    ends = (path[start:] for start in range(len(path) - 1, -1, -1))
    return "/".join(next((end for end in ends if all(one[-len(end) :] != end for one in others)), path))
