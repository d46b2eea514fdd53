"""The modules of the project, and those of them that must not need torch."""

import importlib
import pkgutil
from collections.abc import Iterator

TORCH_FREE = (
    "types", "errors", "run_layout", "util", "config", "hub", "values", "tools", "tool_calls", "messages", "leaks",
    "chat", "data", "layouts", "scoring", "eval_metrics", "endpoint", "server_eval", "checking", "reports", "commands",
    "vllm_flags", "side_by_side", "calibration", "guard",
)  # fmt: skip


def torch_free_modules() -> Iterator[str]:
    """The names of all modules that must not import torch."""
    yield from ("car_sales", "insurance")
    for name in TORCH_FREE:
        module = importlib.import_module(f"trainer.{name}")
        yield module.__name__
        for found in pkgutil.walk_packages(getattr(module, "__path__", ()), f"{module.__name__}."):
            yield found.name
