"""`scripts/score.py`, from the command line."""

import json
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.support.quick import ROOT
from tests.support.scoring import call, number_turns, tool, turn
from trainer.eval_metrics import score, write_predictions

SCRIPT = ROOT / "scripts" / "score.py"
TOOLS = [tool("f", a={"type": "integer"}), tool("g")]
GOLD = [call("f", a=1)]


def run(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, str(SCRIPT), *map(str, arguments)], capture_output=True, text=True, check=False
    )


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    final = number_turns([turn(GOLD, GOLD), turn([], "Hi"), turn(GOLD, [call("g")])])
    base = number_turns([turn(GOLD, "Hi"), turn([], GOLD), turn(GOLD, [call("g")])])
    write_predictions(tmp_path / "final.jsonl", final, TOOLS)
    write_predictions(tmp_path / "base.jsonl", base)
    return tmp_path


def test_saved_predictions_are_scored(folder: Path) -> None:
    done = run(folder / "final.jsonl", "--json", folder / "scores.json")
    assert done.returncode == 0
    assert "Scoring turns: 3/3 turns" in done.stderr
    assert "turn_exact" in done.stdout
    assert "0.667" in done.stdout
    written = json.loads((folder / "scores.json").read_text(encoding="utf-8"))
    expected = score(number_turns([turn(GOLD, GOLD), turn([], "Hi"), turn(GOLD, [call("g")])]), TOOLS)
    assert written == json.loads(json.dumps(expected.to_json()))


def test_two_files_are_compared(folder: Path) -> None:
    done = run(folder / "final.jsonl", "--against", folder / "base.jsonl", "--json", folder / "scores.json")
    assert done.returncode == 0
    assert "3 turns compared" in done.stdout
    assert "became exact" in done.stdout
    written = json.loads((folder / "scores.json").read_text(encoding="utf-8"))
    assert written["differences"]["turn_exact"]["difference"] == pytest.approx(2 / 3)
    assert [flip["reasons"] for flip in written["flips"]] == [["missed_call"], ["hallucinated_call"]]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["missing.jsonl"], "missing.jsonl: predictions cannot be read"),
        (["final.jsonl", "--tools", "missing.json"], "missing.json: tool schemas cannot be read"),
        (["alone/base.jsonl"], "no tool schemas beside the predictions; name them with --tools"),
        (["empty.jsonl"], "empty.jsonl: holds no predictions"),
        (["broken.jsonl"], "broken.jsonl:1: not a JSON object"),
    ],
)
def test_a_mistake_is_one_line_and_exit_code_2(folder: Path, arguments: list[str], message: str) -> None:
    (folder / "alone").mkdir()
    (folder / "base.jsonl").rename(folder / "alone" / "base.jsonl")
    (folder / "empty.jsonl").write_text("\n")
    (folder / "broken.jsonl").write_text("{\n")
    paths = [folder / part if part.endswith((".jsonl", ".json")) else part for part in arguments]
    done = run(*paths)
    assert done.returncode == 2
    assert message in done.stderr
    assert "Traceback" not in done.stderr


def test_help_is_instant() -> None:
    start = time.perf_counter()
    done = run("--help")
    assert time.perf_counter() - start < 1.0
    assert done.returncode == 0
    assert "--against base.jsonl" in done.stdout
