"""Two processes that share an evaluation report the same digits as one process."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.support.interrupted import SHORT_SESSIONS
from tests.support.quick import QUICKSTART, ROOT, quick_overrides

TRAIN = str(ROOT / "scripts" / "train.py")
# Two processes train on other batches than one does, so a learning rate of almost zero keeps the weights equal.
COMMON = (*SHORT_SESSIONS, "train.learning_rate=1e-30", "train.max_steps=1", "data.train_split=train[:4]")
# torch.distributed.run starts each process with one thread. The order of sums in a product depends on their number.
ENVIRONMENT = {"OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1", "PYTHONPATH": str(ROOT / "src")}


def metrics_of(model: Path, folder: Path, *, n_processes: int, overrides: tuple[str, ...]) -> dict[str, Any]:
    """Run the training script in this many processes, and return its evaluations."""
    settings = [*quick_overrides(model, folder), *COMMON, *overrides]
    settings += ["train.ddp_backend=gloo"] if n_processes > 1 else []
    script = [TRAIN, "--config", str(QUICKSTART), *(part for item in settings for part in ("--set", item))]
    launcher = ["-m", "torch.distributed.run", "--standalone", "--nproc_per_node", str(n_processes)]
    command = [sys.executable, *(launcher if n_processes > 1 else []), *script]
    done = subprocess.run(command, env=os.environ | ENVIRONMENT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    metrics = json.loads((folder / "metrics.json").read_text(encoding="utf-8"))
    for state in ("base", "final"):
        metrics[state].pop("runtime_s")
    return {state: metrics[state] for state in ("base", "final")}


@pytest.mark.slow
@pytest.mark.parametrize(
    "overrides",
    [
        # Two groups of turns, and three rows that only count for perplexity: both processes get work of each kind.
        ("data.eval_split=test[:11]", "data.n_tool_sessions_eval=8"),
        # One session and no other row: the second process has nothing to do.
        ("data.eval_split=test[:1]", "data.n_tool_sessions_eval=1"),
    ],
    ids=["shared", "fewer sessions than processes"],
)
def test_two_processes_report_what_one_reports(
    tiny_model_folder: Path, tmp_path: Path, overrides: tuple[str, ...]
) -> None:
    one, two = (metrics_of(tiny_model_folder, tmp_path / f"run{n}", n_processes=n, overrides=overrides) for n in (1, 2))
    assert one == two
    predictions = [(tmp_path / f"run{n}" / "predictions" / "final.jsonl").read_text(encoding="utf-8") for n in (1, 2)]
    assert predictions[0] == predictions[1]
