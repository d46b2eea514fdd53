"""Runs in processes of their own, to be killed; and what is left of them."""

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from tests.support.quick import QUICKSTART, ROOT

SCRIPT = (str(ROOT / "scripts" / "train.py"),)
ENVIRONMENT = {"OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1", "PYTHONPATH": f"{ROOT / 'src'}{os.pathsep}{ROOT}"}

SHORT_SESSIONS = (
    "data.load_module=chat_rows",
    f"data.dataset_name={ROOT / 'tests' / 'support' / 'short_sessions'}",
    "data.sysprompt_path=null",
    "data.tools_path=null",
)
"""Sessions of about a hundred tokens and one tool, which train in moments."""

LONG_RUN = (
    *SHORT_SESSIONS,
    "data.train_split=train[:7]",
    "data.eval_split=test[:1]",
    "train.max_steps=-1",
    "train.num_train_epochs=3",
    "train.per_device_train_batch_size=1",
    "train.gradient_accumulation_steps=3",
    "lora.dropout=0.1",
    "train.learning_rate=0.01",
    "train.logging_steps=2",
    "train.eval_strategy=steps",
    "train.eval_steps=3",
    "train.save_strategy=steps",
    "train.save_steps=2",
)
"""A run of three epochs and nine steps, with an incomplete last step in every epoch."""


def start_training(overrides: Sequence[str], *flags: str, kill_at: str | None = None) -> subprocess.Popen[str]:
    """Start training in a process of its own; it dies at `kill_at`, which is `FUNCTION N` of `killed_training`."""
    settings = [part for item in overrides for part in ("--set", item)]
    script = ("-m", "tests.support.killed_training", *kill_at.split()) if kill_at else SCRIPT
    return subprocess.Popen(
        [sys.executable, *script, "--config", str(QUICKSTART), *settings, *flags],
        env=os.environ | ENVIRONMENT,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )


def train_to_the_end(overrides: Sequence[str], *flags: str) -> str:
    """Train, and return what was printed. Fails if training fails."""
    process = start_training(overrides, *flags)
    output, _ = process.communicate(timeout=600)
    assert process.returncode == 0, output[-4000:]
    return output


def history_of(folder: Path) -> list[str]:
    """Return the lines of a run's history without times."""
    import json

    lines = (folder / "history.jsonl").read_text(encoding="utf-8").splitlines()
    clocks = ("runtime", "per_second")
    return [
        json.dumps({key: value for key, value in json.loads(line).items() if not any(c in key for c in clocks)})
        for line in lines
    ]
