"""Write files and folders whole or not at all, and find out before long work whether they can be written.

Text is written without the secrets that `secrets` knows.
"""

import json
import os
import re
import shutil
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, TextIO

from trainer.errors import OutputError
from trainer.util.secrets import HidingStream, hider

_PARTIAL = re.compile(r"\..+\.[a-z0-9_]{8}")  # the names that `_replacement` makes
_LONE_SURROGATE = re.compile("[\ud800-\udfff]")


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
        with whole_file(path) as file:
            file.write(text)
    except OSError as error:
        raise OutputError(f"{option} {path}: cannot be written: {error.strerror}") from error


def replace_file(path: Path, text: str) -> None:
    """Write a file beside its place and move it there, which never shows a reader half a file.

    A link stays a link: the file that it points to is replaced.
    """
    with _replacement(path) as file:
        file.write(text)


@contextmanager
def whole_file(path: Path) -> Iterator[TextIO]:
    """Yield a text file that is moved to `path` when the block ends. After an error, nothing has changed.

    A terminal or a pipe, such as /dev/stdout, is written to directly.
    """
    if _exists(path) and not path.is_file():
        with path.open("w", encoding="utf-8") as file:
            yield _hiding(file)
    else:
        with _replacement(path) as file:
            yield file


@contextmanager
def whole_folder(path: Path) -> Iterator[Path]:
    """Yield an empty folder that takes the place of `path` when the block ends. After an error, nothing has changed."""
    target = Path(os.path.realpath(path))
    with _created(target.parent):
        temporary = Path(tempfile.mkdtemp(dir=target.parent, prefix=f".{target.name}."))
        try:
            yield temporary
            temporary.chmod(0o755)
            _swap(temporary, target)
        except BaseException:
            shutil.rmtree(temporary, ignore_errors=True)
            raise


def _swap(new: Path, target: Path) -> None:
    if not target.exists():
        new.rename(target)
        return
    old = new.with_name(f"{new.name}.old")
    target.rename(old)
    try:
        new.rename(target)
    except BaseException:
        old.rename(target)
        raise
    shutil.rmtree(old, ignore_errors=True)


@contextmanager
def _replacement(path: Path) -> Iterator[TextIO]:
    target = Path(os.path.realpath(path))
    with _created(target.parent):
        handle, temporary = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.")
        try:
            with os.fdopen(handle, "w", encoding="utf-8") as file:
                yield _hiding(file)
                file.flush()
                os.fsync(file.fileno())  # the name must not come to the disk before the text
            Path(temporary).chmod(0o644)
            Path(temporary).replace(target)
        except BaseException:
            Path(temporary).unlink(missing_ok=True)
            raise


def remove_partial(paths: Iterable[Path]) -> None:
    """Remove those of these files that killed writes have left. Nobody may be writing them at this moment."""
    for path in paths:
        if path.is_file() and _PARTIAL.fullmatch(path.name):
            path.unlink(missing_ok=True)


def _hiding(file: TextIO) -> TextIO:
    stream: Any = HidingStream(file, hider())
    hiding: TextIO = stream
    return hiding


@contextmanager
def _created(folder: Path) -> Iterator[None]:
    """Create a folder; after an error in the block, remove what was created."""
    new = [place for place in (folder, *folder.parents) if not _exists(place)]
    folder.mkdir(parents=True, exist_ok=True)
    try:
        yield
    except BaseException:
        for place in new:
            with suppress(OSError):  # somebody else put a file there
                place.rmdir()
        raise


def replace_json(path: Path, value: Any) -> None:
    """Write a value as indented JSON, as `replace_file` does. Raises `ValueError` for infinities and NaN."""
    replace_file(path, json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n")


def json_line(value: Any) -> str:
    """Return a value as JSON on one line, with letters as they are.

    Half a surrogate pair cannot be encoded; it becomes an escape, which is read back as the same. Raises `ValueError`
    for infinities and NaN, `TypeError` for values without a JSON form.

    >>> json_line({"town": "Z\u00fcrich"})
    '{"town": "Zürich"}'
    """
    text = json.dumps(value, ensure_ascii=False, allow_nan=False)
    return _LONE_SURROGATE.sub(lambda match: f"\\u{ord(match[0]):04x}", text)
