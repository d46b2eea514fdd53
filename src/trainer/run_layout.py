"""Where the files of a run folder and of a served evaluation are: each name once. Reads and writes nothing."""

from pathlib import Path
from typing import Literal

State = Literal["base", "final"]
"""A model that a run evaluates: the base model, or the model after training."""

BASE: State = "base"
FINAL: State = "final"

RUN_CONFIG = "config.resolved.yaml"
"""The configuration that ran. A folder that has this file holds a run."""

ENVIRONMENT_FILE = "environment.json"
CALIBRATION_FILE = "calibration.json"
"""The bias on the tokens that begin a call. Everything that asks the run's model for answers reads it."""

METRICS_FILE = "metrics.json"
HISTORY_FILE = "history.jsonl"
REPORT_FILE = "report.html"
PREDICTIONS_FOLDER = "predictions"
TOOLS_FILE = "tools.json"
"""The tool schemas beside the predictions files of a folder. They are kept once, which keeps the lines small."""

CONVERSATIONS_FILE = "conversations.jsonl"
"""The judged conversations beside the predictions files of a folder: the history of a turn is the beginning of one."""

UNFINISHED_FOLDER = "unfinished"
"""Where a run is written until it is finished; then it takes the place of the earlier run around it."""

FILE_LIST = ".files.json"
"""The files that a finished run wrote; nothing else in its folder is ever removed."""

ADAPTER_CONFIG = "adapter_config.json"
ADAPTER_WEIGHTS = "adapter_model.safetensors"
CHAT_TEMPLATE = "chat_template.jinja"
TOKENIZER_CONFIG = "tokenizer_config.json"
MODEL_CARD = "README.md"

SERVED_FOLDER = "served"
"""Where a run folder keeps evaluations of servers. The one of the base model can be older than the run."""

PREDICTIONS_FILE = "predictions.jsonl"
LENIENT_FILE = "lenient.jsonl"
REQUEST_FILE = "request.json"
LOCK_FILE = ".lock"
"""Held while a run or an evaluation writes into the folder."""

RUN_FILES = (RUN_CONFIG, METRICS_FILE, REPORT_FILE)
"""Files of a run that a served evaluation must not mix with its own."""

SERVING_FOLDER = "serving"
GENERATION_CONFIG = "generation_config.json"
TOOL_PARSER = "tool_sft_parser.py"
MODEL_CONFIG = "config.json"
MERGE_REPORT = "merge.json"


def step_name(step: int) -> str:
    """Return the name of an evaluation during training.

    >>> step_name(40)
    'step-000040'
    """
    return f"step-{step:06d}"


class RunLayout:
    """The files of the run folder at `path`. `serving` is the folder that `tool-sft serve` writes for vLLM."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.config = path / RUN_CONFIG
        self.environment = path / ENVIRONMENT_FILE
        self.metrics = path / METRICS_FILE
        self.history = path / HISTORY_FILE
        self.calibration = path / CALIBRATION_FILE
        self.tools = path / PREDICTIONS_FOLDER / TOOLS_FILE
        self.conversations = path / PREDICTIONS_FOLDER / CONVERSATIONS_FILE
        self.report = path / REPORT_FILE
        self.adapter_config = path / ADAPTER_CONFIG
        self.adapter_weights = path / ADAPTER_WEIGHTS
        self.chat_template = path / CHAT_TEMPLATE
        self.tokenizer_config = path / TOKENIZER_CONFIG
        self.serving = path / SERVING_FOLDER
        self.unfinished = path / UNFINISHED_FOLDER
        self.file_list = path / FILE_LIST
        self.lock = path / LOCK_FILE

    def predictions(self, evaluation: str) -> Path:
        """Return the predictions file of an evaluation: `base`, `final` or a `step_name`."""
        return self.path / PREDICTIONS_FOLDER / f"{evaluation}.jsonl"

    def served(self, model: str) -> Path:
        """Return the folder for an evaluation of a server that offers this run as `model`."""
        return self.path / SERVED_FOLDER / model.replace("/", "--")


class ServedLayout:
    """The files of one evaluation of a server, in the folder at `path`."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.predictions = path / PREDICTIONS_FILE
        self.lenient = path / LENIENT_FILE
        self.tools = path / TOOLS_FILE
        self.conversations = path / CONVERSATIONS_FILE
        self.request = path / REQUEST_FILE
        self.metrics = path / METRICS_FILE
        self.report = path / REPORT_FILE
        self.lock = path / LOCK_FILE
