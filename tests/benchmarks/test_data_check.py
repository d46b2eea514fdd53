"""The benchmark of the data check runs, and its sessions are valid and all different."""

import json
import runpy
from pathlib import Path

from tests.support.quick import ROOT

SCRIPT = ROOT / "benchmarks" / "data_check.py"


def test_the_check_of_synthetic_sessions_is_measured(tmp_path: Path) -> None:
    main = runpy.run_path(str(SCRIPT))["main"]
    assert main(["--sessions", "40", "--json", str(tmp_path / "check.json")]) == 0
    result = json.loads((tmp_path / "check.json").read_text(encoding="utf-8"))
    assert result["sessions"] == 40
    assert 8_000 < result["tokens"] < 16_000
    assert result["sessions_per_s"] > 0
    assert 0 < result["peak_memory_gib"] < 8


def test_no_two_sessions_are_equal() -> None:
    sessions = list(runpy.run_path(str(SCRIPT))["sessions"](50))
    assert len({json.dumps(row["messages"]) for row in sessions}) == 50
