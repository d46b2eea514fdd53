"""The data preparation benchmark runs. It checks itself that its sides do the same work."""

import json
import runpy
from pathlib import Path

import pytest

from tests.support.quick import ROOT

SCRIPT = ROOT / "benchmarks" / "prep.py"


def test_all_four_sides_are_measured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TOKENIZERS_PARALLELISM", "false")
    main = runpy.run_path(str(SCRIPT))["main"]
    assert main(["--sessions", "4", "--repeats", "1", "--json", str(tmp_path / "prep.json")]) == 0
    result = json.loads((tmp_path / "prep.json").read_text(encoding="utf-8"))
    sides = ["growing_prefix", "generation_markers", "raw_tokenization", "project"]
    assert list(result["sessions_per_s"]) == sides
    assert all(rate > 0 for rate in result["sessions_per_s"].values())
    assert 1900 <= result["tokens_per_session"] < 2300
