"""Find the package of a domain by its configured name. Knows nothing of what a domain does."""

import importlib
from typing import Any

from trainer.errors import ConfigError


def load_domain(name: str) -> Any:
    """The domain package, which has to expose `build_datasets(cfg)`. Raises `ConfigError`."""
    try:
        module = importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name != name:  # the domain itself misses something: that traceback is wanted
            raise
        raise ConfigError(
            f"data.load_module: no package {name} can be imported; put it under src/ or on PYTHONPATH"
        ) from None
    if not callable(getattr(module, "build_datasets", None)):
        raise ConfigError(f"data.load_module: {name} exposes no build_datasets(cfg)")
    return module
