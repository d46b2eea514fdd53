"""Write files whole or not at all, and find out before long work whether they can be written."""

import json
import os
import tempfile
from pathlib import Path
from typing import Any

from trainer.errors import OutputError


def claim_file(path: Path | None, *, option: str) -> None:
    """Refuse a file that cannot be written; None means no file. Creates nothing. Raises `OutputError`."""
    if path is None:
        return
    if path.is_dir():
        raise OutputError(f"{option} {path}: is a folder; name a file")
    if _exists(path) and not os.access(path, os.W_OK):
        raise OutputError(f"{option} {path}: cannot be written (permission denied)")
    claim_folder(path.parent, option=option)


def claim_folder(folder: Path, *, option: str) -> None:
    """Refuse a folder that cannot be created or that takes no files. Creates nothing. Raises `OutputError`."""
    absolute = folder.absolute()
    place = next(place for place in (absolute, *absolute.parents) if _exists(place))
    if not place.is_dir():
        raise OutputError(f"{option}: {place} is a file; name a folder")
    if not os.access(place, os.W_OK | os.X_OK):
        raise OutputError(f"{option}: {place} cannot be written (permission denied)")


def _exists(path: Path) -> bool:
    return os.path.exists(path)  # noqa: PTH110  (below a folder that cannot be read, Path.exists raises an error)


def write_file(path: Path, text: str, *, option: str) -> None:
    """Write a file that an option names, and create its folder. Raises `OutputError`."""
    try:
        if _exists(path) and not path.is_file():
            path.write_text(text, encoding="utf-8")  # a terminal or a pipe, such as /dev/stdout
        else:
            replace_file(path, text)
    except OSError as error:
        raise OutputError(f"{option} {path}: cannot be written: {error.strerror}") from error


def replace_file(path: Path, text: str) -> None:
    """Write a file beside its place and move it there, which never shows a reader half a file.

    A link stays a link: the file that it points to is replaced.
    """
    target = Path(os.path.realpath(path))
    target.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.")
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(text)
        Path(temporary).chmod(0o644)
        Path(temporary).replace(target)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def replace_json(path: Path, value: Any) -> None:
    """Write a value as indented JSON, as `replace_file` does. Raises `ValueError` for infinities and NaN."""
    replace_file(path, json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n")
