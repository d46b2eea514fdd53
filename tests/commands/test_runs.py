"""`tool-sft runs`, from the command line."""

import json
import os
from pathlib import Path
from typing import Any

import pytest

from tests.support.saved_runs import HALF, NOTHING, save_run
from trainer.commands import runs as command
from trainer.commands.main import main
from trainer.side_by_side.all_runs import SORT_KEYS

Capture = pytest.CaptureFixture[str]


@pytest.fixture(autouse=True)
def narrow_terminal(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.chdir(tmp_path)


def listed(*words: str) -> list[dict[str, Any]]:
    """Return the JSON file of the command."""
    assert main(["runs", *words, "--json", "out.json"]) == 0
    content: list[dict[str, Any]] = json.loads(Path("out.json").read_text(encoding="utf-8"))
    return content


def test_finished_unfinished_and_unreadable_runs_are_listed_at_any_depth(tmp_path: Path) -> None:
    save_run(tmp_path / "runs" / "good")
    save_run(tmp_path / "runs" / "deep" / "half", final=HALF)
    save_run(tmp_path / "runs" / "stopped" / "unfinished", finished=False)
    save_run(tmp_path / "runs" / "good" / "unfinished", finished=False)
    save_run(tmp_path / "runs" / "torn")
    (tmp_path / "runs" / "torn" / "metrics.json").write_text("{")
    save_run(tmp_path / "runs" / "notes")
    (tmp_path / "runs" / "notes" / "config.resolved.yaml").write_text("- a: [")
    (tmp_path / "runs" / "link").symlink_to(tmp_path / "runs" / "good")
    (tmp_path / "runs" / "loop").symlink_to(tmp_path / "runs")
    found = {run["name"]: run for run in listed("--sort", "name")}
    assert {name: run["state"] for name, run in found.items()} == {
        "deep/half": "finished",
        "good": "finished",
        "good/unfinished": "unfinished",
        "notes": "unreadable",
        "stopped": "unfinished",
        "torn": "unreadable",
    }
    assert found["deep/half"]["turn_exact"] == 0.5
    assert found["good"]["perplexity"] == 1.5
    assert found["stopped"]["n_steps"] == 40
    assert found["stopped"]["turn_exact"] is None
    assert found["notes"]["problem"].startswith("runs/notes/config.resolved.yaml: cannot be read")


def test_the_best_or_newest_run_is_first_and_missing_values_last(tmp_path: Path) -> None:
    for age, (name, final) in enumerate({"a": NOTHING, "b": HALF, "c": None}.items()):
        folder = save_run(tmp_path / "runs" / name, final=final or HALF, finished=final is not None)
        for file in folder.iterdir():
            os.utime(file, (1e9 + age, 1e9 + age))
    orders = {key: [run["name"] for run in listed("--sort", key)] for key in ("turn_exact", "missed_call_rate", "date")}
    assert orders == {
        "turn_exact": ["b", "a", "c"],
        "missed_call_rate": ["b", "a", "c"],
        "date": ["c", "b", "a"],
    }


def test_the_table_fits_80_columns_and_cuts_no_name(tmp_path: Path, capsys: Capture) -> None:
    name = "learning-rate-3e-4-rank-16-all-modules-second-try"
    save_run(tmp_path / "runs" / name)
    save_run(tmp_path / "runs" / "[bold]\x1b[1m")
    assert main(["runs"]) == 0
    out = capsys.readouterr().out
    assert max(map(len, out.splitlines())) <= 80
    cells = "".join(line.split("  ")[0].strip() for line in out.splitlines())
    assert name in cells
    assert "org/model" in out
    assert "\x1b[1m" not in out
    assert "[bold]\\x1b[1m" in cells
    row = next(line for line in out.splitlines() if line.startswith("learning"))
    assert row.split()[1:] == ["40", "1.000", "1.000", "1.000", "–", "0.000", "1.500", "1h02"]


def test_the_page_has_all_runs_in_a_table_that_can_be_sorted(tmp_path: Path) -> None:
    save_run(tmp_path / "runs" / "<b>good")
    save_run(tmp_path / "runs" / "torn")
    (tmp_path / "runs" / "torn" / "metrics.json").write_text("{")
    assert main(["runs", "--html", "page.html"]) == 0
    page = Path("page.html").read_text(encoding="utf-8")
    assert "&lt;b&gt;good" in page
    assert "<b>" not in page
    assert "data-sortable" in page
    assert 'data-value="3700.0">1h02</td>' in page
    assert "torn: not a JSON object" in page


def test_a_folder_without_runs_is_an_empty_list_and_a_missing_one_a_mistake(tmp_path: Path, capsys: Capture) -> None:
    (tmp_path / "runs").mkdir()
    assert listed() == []
    assert main(["runs", "missing"]) == 2
    assert "missing: there is no such folder" in capsys.readouterr().err


def test_the_sort_keys_are_those_of_the_list() -> None:
    assert command._SORT_KEYS == SORT_KEYS
