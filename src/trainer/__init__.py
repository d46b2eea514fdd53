"""Fine-tune chat models to call tools, evaluate them, and serve them.

The names below are what the commands are made of: one function per command, what it takes, and the base of the errors
that it raises. Each is imported when it is first used, so `import trainer` is instant and needs no torch. Everything
else is imported from its own module.

>>> import trainer
>>> trainer.load_config("configs/car_sales/quickstart.yaml").data.load_module
'car_sales'
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from trainer.config import Config, load_config
    from trainer.endpoint import EndpointSettings
    from trainer.errors import ToolSftError
    from trainer.eval_metrics import read_predictions, read_tools, score
    from trainer.server_eval.evaluate import ServedOptions, evaluate_served
    from trainer.serving.merge import merge_run
    from trainer.serving.parity_run import check_parity
    from trainer.serving.plan import plan_serving
    from trainer.training.finished_run import read_run
    from trainer.training.train import train_run

    __version__: str

__all__ = [
    "Config",
    "EndpointSettings",
    "ServedOptions",
    "ToolSftError",
    "__version__",
    "check_parity",
    "evaluate_served",
    "load_config",
    "merge_run",
    "plan_serving",
    "read_predictions",
    "read_run",
    "read_tools",
    "score",
    "train_run",
]

_MODULES = {
    "Config": "config",
    "EndpointSettings": "endpoint",
    "ServedOptions": "server_eval.evaluate",
    "ToolSftError": "errors",
    "check_parity": "serving.parity_run",
    "evaluate_served": "server_eval.evaluate",
    "load_config": "config",
    "merge_run": "serving.merge",
    "plan_serving": "serving.plan",
    "read_predictions": "eval_metrics",
    "read_run": "training.finished_run",
    "read_tools": "eval_metrics",
    "score": "eval_metrics",
    "train_run": "training.train",
}


def __getattr__(name: str) -> Any:
    if name == "__version__":
        return _version()
    if name in _MODULES:
        return getattr(import_module(f"trainer.{_MODULES[name]}"), name)
    raise AttributeError(f"module 'trainer' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


def _version() -> str:
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version("llm-tool-call-sft")
    except PackageNotFoundError:  # run from a checkout, without installation
        return "0+unknown"
