"""The simulation of intervals and comparisons runs small, and its JSON has the documented keys."""

import json
from pathlib import Path

import intervals
import pytest


def test_both_tables_are_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(intervals, "SESSIONS", (10,))
    path = tmp_path / "intervals.json"
    intervals.main(["--simulations", "20", "--comparisons", "5", "--json", str(path)])
    found = json.loads(path.read_text(encoding="utf-8"))
    assert len(found["coverage"]) == 9
    for row in found["coverage"]:
        assert row.keys() == {"sessions", "rate", "correlation", "project", "bootstrap", "width"}
        assert row["project"] >= 0.8
        assert row["width"].keys() == {"project", "bootstrap"}
    assert [row.keys() for row in found["false_stars"]] == [{"sessions", "headline", "any"}] * 2
