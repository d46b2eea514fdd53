"""Where the files of a run folder and of a served evaluation are: each name once. Reads and writes nothing."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

State = Literal["base", "final"]
"""A model that a run evaluates: the base model, or the model after training."""

BASE: State = "base"
FINAL: State = "final"

RUN_CONFIG = "config.resolved.yaml"
"""The configuration that ran. A folder that has this file holds a run."""

ENVIRONMENT_FILE = "environment.json"
METRICS_FILE = "metrics.json"
HISTORY_FILE = "history.jsonl"
REPORT_FILE = "report.md"
PREDICTIONS_FOLDER = "predictions"
TOOLS_FILE = "tools.json"
"""The tool schemas beside the predictions files of a folder. They are kept once, which keeps the lines small."""

ADAPTER_CONFIG = "adapter_config.json"
ADAPTER_WEIGHTS = "adapter_model.safetensors"
CHAT_TEMPLATE = "chat_template.jinja"
TOKENIZER_CONFIG = "tokenizer_config.json"

SERVED_FOLDER = "served"
"""Where a run folder keeps evaluations of servers. The one of the base model can be older than the run."""

PREDICTIONS_FILE = "predictions.jsonl"
LENIENT_FILE = "lenient.jsonl"
REQUEST_FILE = "request.json"
LOCK_FILE = ".lock"
RUN_FILES = (RUN_CONFIG, METRICS_FILE, REPORT_FILE)
"""Files of a run that a served evaluation must not mix with its own."""

SERVING_FOLDER = "serving"
GENERATION_CONFIG = "generation_config.json"
MODEL_CONFIG = "config.json"
MERGE_REPORT = "merge.json"


def step_name(step: int) -> str:
    """Return the name of an evaluation during training.

    >>> step_name(40)
    'step-000040'
    """
    return f"step-{step:06d}"


@dataclass(frozen=True, slots=True)
class RunLayout:
    """The files of the run folder at `path`."""

    path: Path

    @property
    def config(self) -> Path:
        return self.path / RUN_CONFIG

    @property
    def environment(self) -> Path:
        return self.path / ENVIRONMENT_FILE

    @property
    def metrics(self) -> Path:
        return self.path / METRICS_FILE

    @property
    def history(self) -> Path:
        return self.path / HISTORY_FILE

    @property
    def report(self) -> Path:
        return self.path / REPORT_FILE

    @property
    def adapter_config(self) -> Path:
        return self.path / ADAPTER_CONFIG

    @property
    def adapter_weights(self) -> Path:
        return self.path / ADAPTER_WEIGHTS

    @property
    def chat_template(self) -> Path:
        return self.path / CHAT_TEMPLATE

    @property
    def tokenizer_config(self) -> Path:
        return self.path / TOKENIZER_CONFIG

    @property
    def serving(self) -> Path:
        """The folder that `scripts/serve.py` writes for vLLM."""
        return self.path / SERVING_FOLDER

    def predictions(self, evaluation: str) -> Path:
        """Return the predictions file of an evaluation: `base`, `final` or a `step_name`."""
        return self.path / PREDICTIONS_FOLDER / f"{evaluation}.jsonl"

    def served(self, model: str) -> Path:
        """Return the folder for an evaluation of a server that offers this run as `model`."""
        return self.path / SERVED_FOLDER / model.replace("/", "--")


@dataclass(frozen=True, slots=True)
class ServedLayout:
    """The files of one evaluation of a server, in the folder at `path`."""

    path: Path

    @property
    def predictions(self) -> Path:
        return self.path / PREDICTIONS_FILE

    @property
    def lenient(self) -> Path:
        return self.path / LENIENT_FILE

    @property
    def tools(self) -> Path:
        return self.path / TOOLS_FILE

    @property
    def request(self) -> Path:
        return self.path / REQUEST_FILE

    @property
    def metrics(self) -> Path:
        return self.path / METRICS_FILE

    @property
    def report(self) -> Path:
        return self.path / REPORT_FILE

    @property
    def lock(self) -> Path:
        return self.path / LOCK_FILE
