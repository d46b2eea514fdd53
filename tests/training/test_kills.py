"""A run that is killed at any moment goes on, with --resume, to the adapter of the uninterrupted run, bit for bit.

`KILLS=0:30 pytest -s tests/training/test_kills.py` tries every place, and then random moments.
"""

import hashlib
import json
import os
import random
import signal
import time
from pathlib import Path
from typing import Any

import pytest

from tests.support.interrupted import LONG_RUN, history_of, start_training, train_to_the_end
from tests.support.quick import quick_overrides

# Where a run is killed: at the n-th call of a function.
PLACES = (
    "trainer.training.run_trainer:RunTrainer._save_rng_state 2",  # in a checkpoint, weights and optimizer are written
    "trainer.training.run_place:move_files 1",  # the earlier run is gone, nothing has moved
    "trainer.training.recovery.checkpoints:shutil.rmtree+ 4",  # between a written checkpoint and its name
    "trainer.tool_trainer:ToolTrainer._report 3",  # after an evaluation, before its predictions
    "trainer.evaluation:decode_turns 3",  # in an evaluation
    "trainer.training.run_folder:RunFolder.write_evaluation+ 2",
    "trainer.training.run_trainer:rotate_checkpoints 3",
    "trainer.training.run_folder:RunFolder.append_history+ 6",
    "trainer.training.train:_base_state 1",  # before anything is measured
    "trainer.training.train:_best_checkpoint 1",  # after the last step
    "trainer.training.train:_final_evaluation+ 1",
    "trainer.training.train:take_place 1",
    "trainer.training.run_files:Path.replace 30",  # among the final moves
)
KILLS = range(*map(int, os.environ.get("KILLS", "0:1").split(":")))


def weights_of(run: Path) -> str:
    return hashlib.sha256((run / "adapter_model.safetensors").read_bytes()).hexdigest()


def metrics_of(run: Path) -> dict[str, Any]:
    metrics: dict[str, Any] = json.loads((run / "metrics.json").read_text(encoding="utf-8"))
    for state in ("base", "final"):
        metrics[state].pop("runtime_s")
    return metrics


@pytest.mark.slow
def test_a_killed_run_resumes_to_the_same_weights(tiny_model_folder: Path, tmp_path: Path) -> None:
    def overrides(name: str) -> list[str]:
        return [*quick_overrides(tiny_model_folder, tmp_path / name), *LONG_RUN]

    started = time.monotonic()
    train_to_the_end(overrides("whole"))
    duration = time.monotonic() - started
    rng = random.Random(0)
    expected = weights_of(tmp_path / "whole")
    for index in KILLS:
        run = tmp_path / f"run{index}"
        place = PLACES[index] if index < len(PLACES) else None
        process = start_training(overrides(run.name), kill_at=place)
        if place is None:
            time.sleep(rng.uniform(0.2, 1.0) * duration)
            os.killpg(process.pid, signal.SIGKILL)
        output, _ = process.communicate(timeout=600)
        assert process.returncode in (-signal.SIGKILL, 0 if place is None else -signal.SIGKILL), output[-3000:]
        resume = ("--resume",) if (run / "unfinished").exists() or (run / "metrics.json").exists() else ()
        train_to_the_end(overrides(run.name), *resume)
        print(f"kill {index}: {place or 'at a random moment'}: {weights_of(run) == expected}")
        assert weights_of(run) == expected, place
        assert history_of(run) == history_of(tmp_path / "whole"), place
        whole, resumed = metrics_of(tmp_path / "whole"), metrics_of(run)
        assert (whole["base"], whole["final"]) == (resumed["base"], resumed["final"])
        assert whole["train"]["loss"] == pytest.approx(resumed["train"]["loss"], rel=1e-6)
        names = {path.name for path in (run / "predictions").iterdir()}
        assert names == {path.name for path in (tmp_path / "whole" / "predictions").iterdir()}
