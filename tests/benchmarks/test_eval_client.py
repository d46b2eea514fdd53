"""The evaluation client is fast enough for a fast server."""

import json
import subprocess
import sys
from pathlib import Path

from tests.support.quick import ROOT

SCRIPT = ROOT / "benchmarks" / "eval_client.py"


def test_a_thousand_turns_at_64_at_a_time_are_fast(tmp_path: Path) -> None:
    figures = tmp_path / "figures.json"
    done = subprocess.run(
        [sys.executable, str(SCRIPT), "--json", str(figures)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    result = json.loads(figures.read_text(encoding="utf-8"))
    assert (result["n_turns"], result["n_errors"], result["concurrency"]) == (1000, 0, 64)
    # A machine may be busy or slow, so the client is compared with bare requests of the same run: 1.1 to 1.2 times.
    assert result["client_cpu_seconds"] < 1.6 * result["plain_cpu_seconds"]
    assert result["seconds"] < 2 * result["plain_seconds"]
