"""All systems that the benchmark of training compares train the same: the same rows, start and loss."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.quick import ROOT


@pytest.mark.slow
def test_this_project_and_trl_have_the_same_losses(tmp_path: Path) -> None:
    figures = tmp_path / "figures.json"
    flags = "--random tiny --sides project trl --batch 2 --dropout 0 --rank 4 --warmup 1 --steps 1 --row-tokens 90"
    command = [sys.executable, str(ROOT / "benchmarks" / "train.py"), *flags.split(), "--dtype", "float32"]
    done = subprocess.run([*command, "--json", str(figures)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    result = json.loads(figures.read_text(encoding="utf-8"))
    (case,) = result["cases"]
    assert {"batch", "dropout", "tokens_per_s", "peak_memory_gb", "loss", "matrix_share"} <= set(case)
    assert set(case["tokens_per_s"]) == {"project", "trl"}
    assert case["losses"]["project"] == pytest.approx(
        case["losses"]["trl"], rel=1e-4
    )  # a random model, so only rounding differs
    assert len(case["losses"]["project"]) == 2
    assert result["machine"]
