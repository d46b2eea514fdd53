"""Write a small domain that trains at once, for you to replace with your own: package, configuration, data and test."""

import argparse
import keyword
import os
import re
import shlex
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from importlib import invalidate_caches
from importlib.machinery import PathFinder
from importlib.resources import files
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

from trainer.errors import ConfigError, OutputError
from trainer.util.cli import command_parser
from trainer.util.files import claim_folder

_EXAMPLES = """
examples:
  %(prog)s toys
  %(prog)s toys --into ~/my-project

If your data is in a public layout, you need no code: set data.load_module to chat_rows.
"""

_FILES = (
    "src/NAME/__init__.py",
    "src/NAME/data_prep.py",
    "src/NAME/prompt.py",
    "configs/NAME.yaml",
    "data/NAME/sysprompt.md",
    "data/NAME/tool_calls.json",
    "data/NAME/train.jsonl",
    "data/NAME/test.jsonl",
    "tests/test_NAME.py",
)
"""What the command writes. NAME becomes the domain's name, in these paths and in the files."""

_STUB = "domain_stub"  # the folder of these files; those in Python end with .txt, because they are not modules here
_EDIT = re.compile(r"# EDIT ([123]) of 3: ([^.]+)")
_LONGEST_NAME = 40  # with a longer one, lines of the written files would be too long


def parse(argv: Sequence[str], *, prog: str) -> argparse.Namespace:
    """Read the command line."""
    parser = command_parser(prog, __doc__, _EXAMPLES)
    parser.add_argument("name", metavar="NAME", help="name of the domain, and of its Python package")
    parser.add_argument(
        "--into", type=Path, default=Path(), metavar="DIR", help="project folder to write to (default: this one)"
    )
    return parser.parse_args(argv)


def run(args: argparse.Namespace) -> int:
    """Write the files, then print them, the places to edit and the next commands."""
    folder = args.into.expanduser()
    texts = write_domain(args.name, folder)
    print(f"Written:\n{_listed(texts)}")
    edits = sorted(_edits(texts))
    width = max(len(edit.place) for edit in edits)
    print(f"\nEdit three places:\n{_listed(f'{edit.place:<{width}}  {edit.what}' for edit in edits)}")
    config = f"configs/{args.name}.yaml"
    commands = [
        f"tool-sft preview --config {config}",
        f"tool-sft train --config {config}",
        f"pytest tests/test_{args.name}.py",
    ]
    if folder.resolve() != Path.cwd():
        commands.insert(0, f"cd {shlex.quote(str(folder))}")
    print(f"\nIt works as it is. Next:\n{_listed(commands)}")
    return 0


def write_domain(name: str, folder: Path) -> dict[Path, str]:
    """Write a new domain into a project folder, all of it or nothing, and return the files with their texts.

    Raises `ConfigError` if the name cannot be used or a file exists, `OutputError` if the folder cannot be written.
    """
    _refuse_misspelled(name)
    texts = {folder / path.replace("NAME", name): _stub(path).replace("NAME", name) for path in _FILES}
    for path in texts:
        claim_folder(path.parent, option="--into")
    existing = [path for path in texts if os.path.lexists(path)]
    if existing:
        raise ConfigError(f"these files exist; choose another name, or move them away\n{_listed(existing)}")
    _refuse_importable(name, folder)
    _write_all(texts)
    invalidate_caches()  # this process may have looked into the folders before
    return texts


def _stub(path: str) -> str:
    resource = f"{path}.txt" if path.endswith(".py") else path
    return files("trainer.commands").joinpath(_STUB, *resource.split("/")).read_text(encoding="utf-8")


def _refuse_misspelled(name: str) -> None:
    if not re.fullmatch(r"[a-z][a-z0-9_]*", name):
        raise ConfigError(
            f"{name!r} cannot be the name of a package; use lower-case letters, digits and _, and begin with a letter"
        )
    if len(name) > _LONGEST_NAME:
        raise ConfigError(f"{name} has {len(name)} characters; a name may have {_LONGEST_NAME}")
    if keyword.iskeyword(name):
        raise ConfigError(f"{name} is a keyword of Python; choose another name")


def _refuse_importable(name: str, folder: Path) -> None:
    """Raise `ConfigError` if Python already has a module of this name: one of the two would hide the other."""
    if name in sys.stdlib_module_names:
        raise ConfigError(f"{name} is a module of Python's standard library; choose another name")
    if name in {path.split("/")[0] for path in _FILES}:
        raise ConfigError(f"{name} is a folder that the command writes to; choose another name")
    if (found := _module_place(name, folder)) is not None:
        raise ConfigError(f"{name} is already a Python package ({found}); choose another name")


def _module_place(name: str, folder: Path) -> str | None:
    """Return where Python finds a module of this name; None if there is none. Imports nothing."""
    here = folder.resolve()
    invalidate_caches()
    spec = find_spec(name) or PathFinder.find_spec(name, [str(here), str(here / "src")])
    if spec is None:
        return None
    if spec.origin is not None:
        return spec.origin
    # Without a file, any folder of this name counts. Beside the new files it is no package, but elsewhere it may be.
    beside = {place / name for place in (Path.cwd(), here, here / "src")}
    return next((place for place in spec.submodule_search_locations or () if Path(place).resolve() not in beside), None)


def _write_all(texts: Mapping[Path, str]) -> None:
    """Write new files and their folders; if one cannot be written, remove the others. Raises `OutputError`."""
    made: list[Path] = []
    try:
        for path, text in texts.items():
            for parent in reversed([parent for parent in path.parents if not parent.exists()]):
                parent.mkdir()
                made.append(parent)
            with path.open("x", encoding="utf-8", newline="\n") as file:
                made.append(path)
                file.write(text)
    except BaseException as error:
        for place in reversed(made):
            with suppress(OSError):  # a folder into which somebody else has written
                place.rmdir() if place.is_dir() else place.unlink()
        if isinstance(error, OSError):
            raise OutputError(f"{path}: cannot be written: {error.strerror}; nothing was written") from error
        raise


class _Edit(NamedTuple):
    """A place to edit: its number, path:line, and what it is."""

    number: str
    place: str
    what: str


def _edits(texts: Mapping[Path, str]) -> Iterator[_Edit]:
    for path, text in texts.items():
        for number, line in enumerate(text.splitlines(), start=1):
            if found := _EDIT.search(line):
                yield _Edit(found[1], f"{path}:{number}", found[2])


def _listed(lines: Iterable[object]) -> str:
    return "\n".join(f"  {line}" for line in lines)
