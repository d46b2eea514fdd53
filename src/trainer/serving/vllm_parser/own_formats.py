"""Find a format of one's own again in another environment: the module that defines it, and where that is.

A domain package needs more than vLLM has (it reads data). So the module alone is imported first, without the code of
the packages around it; only if that fails, with all that the training environment has.
"""

import sys
from collections.abc import Iterator
from contextlib import suppress
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

from trainer.errors import FormatError
from trainer.tool_calls import ToolCallFormat, formats, get_format


class FormatHome(NamedTuple):
    """Where a format is defined: a module, the folder of its top package, and where its imports were found."""

    module: str
    folder: str
    search_path: tuple[str, ...]


def home_of(fmt: ToolCallFormat) -> FormatHome | None:
    """Return where a format of one's own is defined; None for a format of this project.

    Raises `FormatError` if no module has it, so that no other process can import it.
    """
    holders = [module for name, module in sorted(sys.modules.items()) if _holds(module, fmt)]
    if any(module.__name__.startswith("trainer.tool_calls.") for module in holders):
        return None
    names = _defining(fmt)
    best = next((module for module in holders if module.__name__ in names), holders[0] if holders else None)
    if best is None or best.__file__ is None:
        raise FormatError(
            f'the tool-call format "{fmt.name}" cannot be loaded in vLLM; make it a variable of a module, such as '
            "FORMAT = ToolCallFormat(...)"
        )
    n_levels = best.__name__.count(".") + (Path(best.__file__).stem == "__init__")
    folder = Path(best.__file__).resolve().parents[n_levels]
    return FormatHome(best.__name__, str(folder), tuple(place for place in sys.path if place))


def load_format(name: str, home: FormatHome | None) -> ToolCallFormat:
    """Return the format called `name`. Raises `FormatError` if neither this project nor `home` has it."""
    if home is None or name in formats():
        return get_format(name)
    for load in (_import_alone, _import_with_everything):
        with suppress(ImportError):
            module = load(home)
            found = [value for value in vars(module).values() if isinstance(value, ToolCallFormat)]
            return next((fmt for fmt in found if fmt.name == name), None) or get_format(name)
    raise FormatError(f'the tool-call format "{name}" cannot be loaded: {home.module} in {home.folder} has no such one')


def _import_alone(home: FormatHome) -> ModuleType:
    """Import the module while empty packages take the place of those around it."""
    parents = list(_parents(home.module))
    if not parents:
        sys.path.append(home.folder)
    for parent in parents:
        empty: Any = ModuleType(parent)
        empty.__path__ = [str(Path(home.folder, *parent.split(".")))]
        sys.modules.setdefault(parent, empty)
    try:
        return import_module(home.module)
    except ImportError:
        for parent in parents:
            sys.modules.pop(parent, None)
        raise


def _import_with_everything(home: FormatHome) -> ModuleType:
    sys.path += [place for place in (home.folder, *home.search_path) if place not in sys.path]
    return import_module(home.module)


def _parents(module: str) -> Iterator[str]:
    parts = module.split(".")
    return (".".join(parts[:n]) for n in range(1, len(parts)))


def _holds(module: object, fmt: ToolCallFormat) -> bool:
    return isinstance(module, ModuleType) and any(value is fmt for value in list(vars(module).values()))


def _defining(fmt: ToolCallFormat) -> set[str]:
    """Return the modules of the format's own functions."""
    functions = (getattr(function, "func", function) for function in (fmt.write, fmt.scan))
    return {getattr(function, "__module__", "") for function in functions}
