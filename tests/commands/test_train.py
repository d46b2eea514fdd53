"""`tool-sft train` and its script from the command line: help, mistakes, and a run."""

import subprocess
import sys
import time
from pathlib import Path

import pytest
import train

from tests.support.quick import QUICKSTART, ROOT, quick_overrides
from trainer.errors import DataError
from trainer.util.cli import exit_code


def run_script(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "scripts/train.py", *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)


def test_help_is_instant_and_has_examples() -> None:
    started = time.monotonic()
    result = run_script("--help")
    assert result.returncode == 0
    assert "configs/car_sales/quickstart.yaml" in result.stdout
    assert "accelerate launch" in result.stdout
    assert time.monotonic() - started < 2


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["--config", "nowhere.yaml"], "nowhere.yaml: no such file"),
        (["--config", "README.md"], "README.md"),
        (["--config", str(QUICKSTART), "--set", "train.learning_rat=1"], "did you mean learning_rate?"),
        (["--config", str(QUICKSTART), "--set", "nonsense"], "section.key=value"),
        (["--config", str(QUICKSTART), "--set", "data.load_module=no_such_domain"], "no_such_domain"),
    ],
)
def test_a_mistake_is_one_message_without_traceback_and_exit_code_2(arguments: list[str], expected: str) -> None:
    result = run_script(*arguments)
    assert result.returncode == 2
    assert expected in result.stderr
    assert "Traceback" not in result.stderr
    assert result.stdout == ""


def test_a_run_ends_with_the_table_and_the_place_of_the_run_folder(
    tiny_model_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    overrides = quick_overrides(tiny_model_folder, tmp_path / "run")
    flags = [part for override in overrides for part in ("--set", override)]
    assert train.main(["--config", str(QUICKSTART), *flags]) == 0
    captured = capsys.readouterr()
    few = "Warning: Too few sessions (2; at least 6) to say whether training helped"
    for text in (few, "base", "final", "tool name F1", "hallucinated calls", f"Run folder: {tmp_path / 'run'}"):
        assert text in captured.out
    assert "train: 6 sessions" in captured.err
    assert "step 2/2 | loss " in captured.err
    assert "tok/s" in captured.err


def test_an_error_that_is_ours_keeps_its_traceback() -> None:
    with pytest.raises(ZeroDivisionError), exit_code():
        _ = 1 / 0


def test_errors_of_the_user_and_interruptions_have_their_exit_codes(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with exit_code() as code:
        raise DataError("row 3 is empty")
    assert code.value == 2
    assert capsys.readouterr().err == "error: row 3 is empty\n"
    with exit_code() as code:
        raise KeyboardInterrupt
    assert code.value == 130
