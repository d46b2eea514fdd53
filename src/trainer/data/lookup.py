"""Read one session of a split, by its id or its row. Tokenizes nothing."""

import importlib
from collections.abc import Sequence
from typing import Any, NamedTuple

from trainer.config import Config
from trainer.data.domains import load_domain
from trainer.data.sessions import SessionReader, make_reader
from trainer.data.sources import load_split
from trainer.errors import ConfigError, DataError
from trainer.types import Session


class _DomainReader(NamedTuple):
    reader: SessionReader
    columns: Sequence[str]


def find_session(cfg: Config, split: str, *, session_id: str | None = None, row: int = 0) -> Session:
    """Return the session with this id, or else the one at `row` (from 0).

    Raises `ConfigError` if the domain does not define how it reads rows, `DataError` if there is no such session.
    """
    reader, columns = _domain_reader(cfg)
    rows = load_split(cfg.data, split, columns=[reader.id_column, *columns])
    if session_id is not None:
        ids = list(rows[reader.id_column])
        if session_id not in ids:
            raise DataError(f"split {split} has no session {session_id!r}; its first ones: {', '.join(ids[:5])}")
        row = ids.index(session_id)
    if not 0 <= row < len(rows):
        raise DataError(f"split {split} has no row {row}; it has rows 0 to {len(rows) - 1}")
    return reader.read(rows[row])


def _domain_reader(cfg: Config) -> _DomainReader:
    name = f"{load_domain(cfg).__name__}.data_prep"
    try:
        module: Any = importlib.import_module(name)
        to_messages, columns = module.session_to_messages, module.COLUMNS
    except (ModuleNotFoundError, AttributeError) as error:
        raise ConfigError(f"{name} must define session_to_messages and COLUMNS for a preview: {error}") from error
    return _DomainReader(make_reader(cfg, to_messages, id_column="session_id"), columns)
