"""Find a configured domain, and the turns that it is judged on. Knows nothing of what a domain does."""

import importlib
from collections.abc import Sequence
from typing import Any

from trainer.config import Config
from trainer.errors import ConfigError
from trainer.types import EvalTurn


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


def domain_turns(domain: Any, cfg: Config) -> Sequence[EvalTurn]:
    """The turns to judge: by the domain's `read_turns(cfg)`, or else as a part of its datasets.

    Building datasets may need what an environment without torch does not have. Raises `ConfigError` then.
    """
    read_turns = getattr(domain, "read_turns", None)
    turns: Sequence[EvalTurn]
    if callable(read_turns):
        turns = read_turns(cfg)
        return turns
    try:
        turns = domain.build_datasets(cfg).tool_eval_examples
    except ImportError as error:
        raise ConfigError(
            f"data.load_module: {domain.__name__} exposes no read_turns(cfg), and its build_datasets(cfg) needs "
            f"{error.name or error}, which is not installed here; add read_turns (trainer.data.read_eval_turns makes "
            "it one line), or run in the environment that trains"
        ) from error
    return turns
