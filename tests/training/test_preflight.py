"""Every wrong configuration is refused at once: with its key and a remedy, without torch, and nothing is written."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.support.quick import QUICKSTART, ROOT
from tests.support.wrong_configurations import WRONG, Wrong

# Runs the command for every list of overrides and reports how each was refused. One that is not would start to train,
# so training is replaced.
_PROGRAM = """
import contextlib, io, json, pathlib, sys, time, types
from trainer.commands.main import main

def train_run(cfg):
    raise SystemExit("not refused")

sys.modules["trainer.training.train"] = types.SimpleNamespace(train_run=train_run)
config, output, rows = sys.argv[1], pathlib.Path(sys.argv[2]), json.loads(sys.stdin.read())
answers = []
for overrides in rows:
    flags = [part for override in overrides for part in ("--set", override)]
    said, started = io.StringIO(), time.monotonic()
    with contextlib.redirect_stderr(said):
        try:
            code = main(["train", "--config", config, *flags])
        except SystemExit as stop:
            code = str(stop)
    heavy = sorted({"torch", "transformers", "peft"} & set(sys.modules))
    answers.append([code, said.getvalue(), heavy, output.exists(), time.monotonic() - started])
print(json.dumps(answers))
"""


def command_answers(rows: list[list[str]], output: Path) -> list[Any]:
    """Return, for each list of overrides: exit code, message, heavy modules, whether the folder is there, seconds."""
    done = subprocess.run(
        [sys.executable, "-c", _PROGRAM, str(QUICKSTART), str(output)],
        input=json.dumps(rows), cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    answers: list[Any] = json.loads(done.stdout.splitlines()[-1])
    return answers


@pytest.fixture(scope="module")
def refusals(tmp_path_factory: pytest.TempPathFactory, embedded_folder: Path) -> dict[Wrong, Any]:
    """Return the answers to all wrong configurations, from one process."""
    folder = tmp_path_factory.mktemp("preflight")
    (folder / "object.json").write_text('{"name": "find"}', encoding="utf-8")
    (folder / "list.json").write_text("[]", encoding="utf-8")
    (folder / "empty.md").write_text("\n", encoding="utf-8")
    (folder / "bad.jinja").write_text("{% for m in messages %}", encoding="utf-8")
    (folder / "full").mkdir()
    (folder / "full" / "thesis.txt").write_text("mine", encoding="utf-8")
    output = folder / "run"
    rows = [[f"train.output_dir={output}", *(o.replace("{tmp}", str(folder)) for o in w.overrides)] for w in WRONG]
    return dict(zip(WRONG, command_answers(rows, output), strict=True))


def test_the_table_is_long_and_says_nothing_twice() -> None:
    assert len(WRONG) >= 80
    assert len(set(WRONG)) == len(WRONG)


@pytest.mark.parametrize("wrong", WRONG, ids=lambda wrong: " ".join(wrong.overrides))
def test_a_wrong_configuration_is_refused_before_anything_happens(wrong: Wrong, refusals: dict[Wrong, Any]) -> None:
    code, message, heavy, is_written, _ = refusals[wrong]
    assert code == 2, message
    lines = [line for line in message.splitlines() if line.split()[:1] == [wrong.key]]
    assert any(wrong.text in line for line in lines), message
    assert "Traceback" not in message
    assert not heavy
    assert not is_written


def test_a_refusal_takes_little_time(refusals: dict[Wrong, Any]) -> None:
    # The first one also imports what reads data; the others show what the checks themselves cost.
    assert sorted(answer[4] for answer in refusals.values())[len(refusals) // 2] < 1


def test_all_problems_of_a_run_are_in_one_list(tmp_path: Path, embedded_folder: Path) -> None:
    rows = [
        f"train.output_dir={tmp_path / 'run'}", "train.learning_rate=0", "train.optim=paged_adamw_8bit",
        "data.tools_path=nowhere.json", "lora.target_modules=[lm_head]", "model.attn_implementation=spda",
    ]  # fmt: skip
    [(code, message, *_)] = command_answers([rows], tmp_path / "run")
    assert code == 2
    assert "5 problems" in message
    assert [line.split()[0] for line in message.splitlines()[1:]] == [
        "train.learning_rate", "model.attn_implementation", "train.optim", "data.tools_path", "lora.target_modules",
    ]  # fmt: skip
