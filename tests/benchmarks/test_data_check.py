"""The benchmark of checking and preparing many sessions runs, and writes what it prints."""

import json
from pathlib import Path

import data_check
import pytest


def test_both_steps_are_measured(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert data_check.main(["--sessions", "40", "--json", str(tmp_path / "found.json")]) == 0
    found = json.loads((tmp_path / "found.json").read_text(encoding="utf-8"))
    assert found["sessions"] == 40
    assert set(found["steps"]) == {"check", "prepare"}
    assert all(step["seconds"] > 0 and step["peak_memory_gb"] > 0.1 for step in found["steps"].values())
    assert "check" in capsys.readouterr().out
