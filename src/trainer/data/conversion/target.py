"""Where converted rows go: refuse a place that would destroy something, then write there whole or not at all."""

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import NamedTuple, TextIO

from trainer.errors import OutputError
from trainer.util.files import claim_file, claim_folder, whole_file, whole_folder
from trainer.values.places import names

SUFFIX = ".jsonl"

OpenFile = Callable[[str], AbstractContextManager[TextIO]]
"""Opens the file of a split, by the split's name."""


class Target(NamedTuple):
    """A file, or a folder with one file per split."""

    path: Path
    is_folder: bool

    def file(self, split: str) -> Path:
        """Return where the rows of a split go."""
        return self.path / f"{split}{SUFFIX}" if self.is_folder else self.path

    @contextmanager
    def open(self) -> Iterator[OpenFile]:
        """Yield a function that opens the file of a split. A folder gets no file for a split without rows."""
        if not self.is_folder:
            with whole_file(self.path) as file:
                yield lambda split: nullcontext(file)
            return
        with whole_folder(self.path) as folder:
            yield lambda split: (folder / f"{split}{SUFFIX}").open("w", encoding="utf-8")
            for written in folder.iterdir():
                if not written.stat().st_size:
                    written.unlink()


def claim_target(source: str, out: Path, *, overwrite: bool, report: Path | None = None) -> Target:
    """Return the target, or refuse it, before anything is read. Changes nothing. Raises `OutputError`."""
    given = Path(source).expanduser()
    _refuse_overlap(given, out, "OUT")
    is_folder = not given.is_file() and out.suffix != SUFFIX
    if is_folder:
        _claim_folder(out, overwrite=overwrite)
    else:
        _claim_file(out, overwrite=overwrite)
    if report is not None:
        claim_file(report, option="--report")
        _refuse_overlap(given, report, "--report")
        if _real(report) == _real(out) or _real(out) in _real(report).parents:
            raise OutputError(f"--report {report}: is OUT or in it; name another file")
    return Target(out, is_folder)


def check_splits(target: Target, splits: Sequence[str]) -> None:
    """Refuse to put several splits into one file. Raises `OutputError`."""
    if not target.is_folder and len(splits) > 1:
        raise OutputError(
            f"{target.path}: one file cannot hold the splits {names(splits)}; name a folder, or choose one with --split"
        )


def _refuse_overlap(given: Path, path: Path, option: str) -> None:
    if not given.exists():
        return
    source, place = _real(given), _real(path)
    if place == source or (place.exists() and place.samefile(source)):
        raise OutputError(f"{option} {path}: is IN; name another place")
    if source in place.parents:
        raise OutputError(f"{option} {path}: is inside of IN; name another place")
    if place in source.parents and option == "OUT":
        raise OutputError(f"{option} {path}: contains IN; name another place")


def _claim_file(out: Path, *, overwrite: bool) -> None:
    if out.suffix != SUFFIX:
        raise OutputError(f"OUT {out}: must end in {SUFFIX}, since it will hold JSON Lines")
    claim_file(out, option="OUT")
    if not os.path.lexists(out):
        return
    if out.exists() and not out.is_file():
        raise OutputError(f"OUT {out}: is not a regular file; name another one")
    if not overwrite:
        raise OutputError(f"OUT {out}: exists; name another file, or replace it with --overwrite")


def _claim_folder(out: Path, *, overwrite: bool) -> None:
    if os.path.lexists(out) and not out.is_dir():
        raise OutputError(f"OUT {out}: is not a folder; name a folder for the splits, or a file that ends in {SUFFIX}")
    claim_folder(out, option="OUT")
    claim_folder(_real(out).parent, option="OUT")
    if not out.exists():
        return
    if not overwrite:
        raise OutputError(f"OUT {out}: exists; name another folder, or replace it with --overwrite")
    others = sorted(path.name for path in out.iterdir() if path.suffix != SUFFIX or not path.is_file())
    if others:
        raise OutputError(f"OUT {out}: holds other things than {SUFFIX} files ({names(others)}); name another folder")


def _real(path: Path) -> Path:
    return Path(os.path.realpath(path))
