"""Find the settings in which runs differ, from their resolved configurations. Checks no value."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from trainer.errors import DataError
from trainer.run_layout import RunLayout

_PLACES = frozenset({"train.output_dir", "train.run_name", "train.logging_dir", "train.overwrite_output_dir"})
"""Where a run is, and what it is called: no two runs share them, and they change nothing."""

MISSING = "–"


def read_settings(run: Path) -> Mapping[str, Any]:
    """Return the values of a run's resolved configuration by dotted key. Raises `DataError` if it cannot be read."""
    path = RunLayout(run).config
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, yaml.YAMLError) as error:
        raise DataError(f"{path}: cannot be read: {error}") from None
    if not isinstance(content, dict):
        raise DataError(f"{path}: must hold an object with keys")
    return dict(_flat(content))


def different_settings(runs: Sequence[Path | None]) -> dict[str, tuple[str, ...]]:
    """Return, by dotted key, the values in which the runs differ, in the order of `runs`.

    None is a side that has no settings; its cells, and those of keys that a run lacks, are a dash. Empty if fewer than
    two different runs are given.
    """
    if len({run.absolute() for run in runs if run is not None}) < 2:
        return {}
    sides = [None if run is None else read_settings(run) for run in runs]
    keys = sorted({key for side in sides if side is not None for key in side} - _PLACES)
    rows = {key: tuple(_shown(side, key) for side in sides) for key in keys}
    known = [index for index, side in enumerate(sides) if side is not None]
    return {key: row for key, row in rows.items() if len({row[index] for index in known}) > 1}


def _flat(section: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in section.items():
        if isinstance(value, dict) and value:
            yield from _flat(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def _shown(side: Mapping[str, Any] | None, key: str) -> str:
    return MISSING if side is None or key not in side else f"{side[key]}"
