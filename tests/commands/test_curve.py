"""`tool-sft curve` from the command line: its words, its plan, its figures and its verdict."""

import argparse
from pathlib import Path

import pytest

from tests.support.interrupted import SHORT_SESSIONS
from tests.support.quick import QUICKSTART, quick_overrides
from trainer.commands.curve import shares
from trainer.commands.main import main

Capture = pytest.CaptureFixture[str]


def test_shares_rise_up_to_all() -> None:
    assert shares("50,10,100") == (10, 50, 100)


@pytest.mark.parametrize("text", ["", "100", "25,50", "0,100", "25,25,100", "25,x,100", "50,100,200", "2.5,100"])
def test_other_shares_are_refused(text: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError, match="must be two or more different whole numbers"):
        shares(text)


def test_a_mistake_is_one_message(capsys: Capture) -> None:
    words = ["curve", "--config", str(QUICKSTART), "--set", "train.learning_rate=-1"]
    assert main(words) == 2
    told = capsys.readouterr()
    assert "train.learning_rate" in told.err
    assert told.out == ""


def test_plan_figures_and_verdict_are_printed_and_only_the_result_the_second_time(
    tiny_model_folder: Path, tmp_path: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    overrides = [*quick_overrides(tiny_model_folder, tmp_path / "run"), *SHORT_SESSIONS, "data.train_split=train"]
    flags = [part for override in overrides for part in ("--set", override)]
    words = ["curve", "--config", str(QUICKSTART), "--shares", "50,100", *flags]
    assert main(words) == 0
    first = capsys.readouterr().out
    lines = [line.split() for line in first.splitlines()]
    assert ["50%", "5", "276", "2", "to", "train", "050/"] in lines
    assert ["100%", "10", "570", "2", "to", "train", "100/"] in lines
    for text in ("Note: 2 test sessions are judged, too few for a verdict", " base ", "tool_name_f1", "Data: With 10"):
        assert text in first
    assert "Whether more data would help is not decidable with 2 test sessions" in first
    assert (tmp_path / "run-curve" / "curve.json").is_file()
    assert main(words) == 0
    second = capsys.readouterr().out
    assert "to train" not in second
    assert first.endswith(second)
