"""Find and import the package of the configured domain. Knows nothing of what is in it."""

import importlib
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

from trainer.config.schema import Config
from trainer.errors import ConfigError


def import_domain(cfg: Config) -> ModuleType:
    """Return the package that `data.load_module` names. Raises `ConfigError` if there is none.

    A package in `src/` of the working directory, in the working directory or beside the configuration file comes
    before an installed one of the same name, because that is the copy that a user edits.
    """
    name = cfg.data.load_module
    folder = next((folder for folder in _folders(cfg) if _holds(folder, name)), None)
    return _import(name, folder)


def _folders(cfg: Config) -> Iterator[Path]:
    yield Path("src").resolve()
    yield Path.cwd()
    if cfg.path is not None:
        yield cfg.path.resolve().parent


def _holds(folder: Path, name: str) -> bool:
    top = folder / name.partition(".")[0]
    return (top / "__init__.py").is_file() or top.with_suffix(".py").is_file()


def _import(name: str, folder: Path | None) -> ModuleType:
    if folder is not None and sys.path[:1] != [str(folder)]:
        sys.path[:] = [str(folder), *(place for place in sys.path if place != str(folder))]
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name is None or not f"{name}.".startswith(f"{error.name}."):
            raise  # the domain exists and its own import fails: the user needs that traceback
        raise ConfigError(
            f"data.load_module: there is no package {name}; put it in src/ of the working directory, beside the "
            "configuration file, or on PYTHONPATH"
        ) from None
