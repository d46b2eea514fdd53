"""Read one session of a split, by its id or its row. Tokenizes nothing."""

import importlib
from collections.abc import Sequence
from typing import Any, NamedTuple

import datasets

from trainer.config import Config
from trainer.data.domains import load_domain
from trainer.data.sessions import RowReader, make_reader
from trainer.data.sources import load_split
from trainer.data.survey import survey_sessions
from trainer.errors import ConfigError, DataError
from trainer.types import Session


class _Split(NamedTuple):
    reader: RowReader
    rows: datasets.Dataset
    ids: Sequence[str]


def find_session(cfg: Config, split: str, *, session_id: str | None = None, row: int = 0) -> Session:
    """Return the session with this id, or else the one at `row` (from 0).

    Raises `ConfigError` for a domain that does not say how it reads rows, `DataError` if the session is not there.
    """
    found = _open_split(cfg, split)
    if session_id is not None:
        if session_id not in found.ids:
            raise DataError(f"split {split} has no session {session_id!r}; its first ones: {', '.join(found.ids[:5])}")
        row = found.ids.index(session_id)
    if not 0 <= row < len(found.rows):
        raise DataError(f"split {split} has no row {row}; it has rows 0 to {len(found.rows) - 1}")
    return found.reader.read(found.rows[row], session_id=found.ids[row])


def _open_split(cfg: Config, split: str) -> _Split:
    domain = load_domain(cfg)
    if callable(getattr(domain, "open_rows", None)):
        reader, raw = domain.open_rows(cfg)
        if split not in raw:
            raise DataError(f"no split {split}; the configuration names {', '.join(raw)}")
        return _Split(reader, raw[split], survey_sessions(raw[split], reader, name=split).ids)
    name = f"{domain.__name__}.data_prep"
    try:
        module: Any = importlib.import_module(name)
        to_messages, columns = module.session_to_messages, module.COLUMNS
    except (ModuleNotFoundError, AttributeError) as error:
        raise ConfigError(f"{name} must define session_to_messages and COLUMNS for a preview: {error}") from error
    reader = make_reader(cfg, to_messages, id_column="session_id")
    rows = load_split(cfg.data, split, columns=[reader.id_column, *columns])
    return _Split(reader, rows, list(rows[reader.id_column]))
