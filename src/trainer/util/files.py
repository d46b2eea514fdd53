"""Write the files that a command line names, or say before long work that they cannot be written. Knows no format."""

import os
import tempfile
from pathlib import Path

from trainer.errors import OutputError


def claim_file(path: Path | None, *, option: str) -> None:
    """Refuse a file that cannot be written; None is no file. Makes nothing. Raises `OutputError`."""
    if path is None:
        return
    if path.is_dir():
        raise OutputError(f"{option} {path}: is a folder; name a file")
    if path.exists() and not os.access(path, os.W_OK):
        raise OutputError(f"{option} {path}: must not be written (permission denied)")
    claim_folder(path.parent, option=option)


def claim_folder(folder: Path, *, option: str) -> None:
    """Refuse a folder that is not there and cannot be made, or takes no files. Makes nothing. Raises `OutputError`."""
    absolute = folder.absolute()
    place = next(place for place in (absolute, *absolute.parents) if place.exists())
    if not place.is_dir():
        raise OutputError(f"{option}: {place} is a file; name a place in a folder")
    if not os.access(place, os.W_OK | os.X_OK):
        raise OutputError(f"{option}: {place} must not be written (permission denied)")


def write_file(path: Path, text: str, *, option: str) -> None:
    """Write a text file and make its folder. Raises `OutputError`."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise OutputError(f"{option} {path}: cannot be written: {error.strerror}") from error


def replace_file(path: Path, text: str) -> None:
    """Write a file beside its place and move it there, so that a reader never meets half a file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(text)
        Path(temporary).chmod(0o644)
        Path(temporary).replace(path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
