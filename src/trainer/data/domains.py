"""Find the configured domain, and ask it for datasets or for the turns to judge. Knows no particular domain."""

import importlib
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

from trainer.config import Config
from trainer.data.bundle import DatasetBundle, as_bundle
from trainer.errors import ConfigError
from trainer.types import EvalTurn


def load_domain(cfg: Config) -> Any:
    """Return the package that `data.load_module` names. Raises `ConfigError` if it has no `build_datasets(cfg)`.

    A package in `src/` of the working directory, in the working directory or beside the configuration file comes
    before an installed one of the same name, because that is the copy that a user edits.
    """
    name = cfg.data.load_module
    folder = next((folder for folder in _folders(cfg) if _holds(folder, name)), None)
    module = _import(name, folder)
    if not callable(getattr(module, "build_datasets", None)):
        where = f" ({module.__file__})" if module.__file__ else ""
        raise ConfigError(f"data.load_module: {name}{where} has no build_datasets(cfg)")
    return module


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


def domain_datasets(domain: Any, cfg: Config) -> DatasetBundle:
    """Return the datasets that a domain builds. Raises `DataError` if a run cannot use them."""
    return as_bundle(domain.build_datasets(cfg), cfg, domain=domain.__name__)


def domain_turns(domain: Any, cfg: Config) -> Sequence[EvalTurn]:
    """Return the turns to judge: from the domain's `read_turns(cfg)`, or else from its datasets.

    Raises `ConfigError` if building the datasets needs a package, such as torch, that is not installed here.
    """
    read_turns = getattr(domain, "read_turns", None)
    turns: Sequence[EvalTurn]
    if callable(read_turns):
        turns = read_turns(cfg)
        return turns
    try:
        turns = domain_datasets(domain, cfg).tool_eval_examples
    except ImportError as error:
        raise ConfigError(
            f"data.load_module: {domain.__name__} has no read_turns(cfg), and its build_datasets(cfg) needs "
            f"{error.name or error}, which is not installed here; add read_turns (one line with "
            "trainer.data.read_eval_turns), or use the environment that trains"
        ) from error
    return turns
