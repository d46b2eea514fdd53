"""Bars and messages keep to what the terminal and the user ask for."""

import os
import pty
import subprocess
import sys

import pytest

from tests.support.quick import ROOT

BAR = """
from trainer.util.cli import exit_code
from trainer.util.progress import progress_bar
with exit_code() as code, progress_bar("Judging base", total=4, unit="turns") as advance:
    advance(1, note="loss 0.5")
    {end}
raise SystemExit(code.value)
"""


def in_terminal(end: str, **environment: str) -> tuple[int, str]:
    """Run the bar in a pseudo-terminal; return the exit code and everything it printed."""
    ours, theirs = pty.openpty()
    known = {name: text for name, text in os.environ.items() if name not in ("NO_COLOR", "FORCE_COLOR", "RANK")}
    changed = {"TERM": "xterm-256color", "COLUMNS": "80", "PYTHONPATH": str(ROOT / "src"), **environment}
    with subprocess.Popen(
        [sys.executable, "-c", BAR.format(end=end)], env={**known, **changed}, stdout=theirs, stderr=theirs
    ) as process:
        os.close(theirs)
        told = b""
        while True:
            try:
                part = os.read(ours, 65536)
            except OSError:  # Linux: the other end was closed
                part = b""
            if not part:
                break
            told += part
    os.close(ours)
    return process.returncode, told.decode()


@pytest.mark.parametrize(
    ("end", "expected", "message"),
    [
        ("advance(3)", 0, "4/4 turns"),
        ("raise KeyboardInterrupt", 130, "interrupted"),
        ("from trainer.errors import DataError; raise DataError('bad row')", 2, "error: bad row"),
    ],
)
def test_a_bar_leaves_the_terminal_clean(end: str, expected: int, message: str) -> None:
    code, told = in_terminal(end)
    assert code == expected
    assert "Judging base" in told
    assert message in told
    assert told.rfind("\x1b[?25h") > told.rfind("\x1b[?25l") >= 0
    assert told.removesuffix("\x1b[?25h").endswith("\n")


@pytest.mark.parametrize(
    "environment",
    [
        {"NO_COLOR": "1"},
        {"TERM": "dumb"},
        {"NO_COLOR": "1", "FORCE_COLOR": "1"},
        {"NO_COLOR": "1", "TTY_COMPATIBLE": "1"},
    ],
)
def test_without_color_there_are_no_escape_codes(environment: dict[str, str]) -> None:
    code, told = in_terminal("advance(3)", **environment)
    assert code == 0
    assert "\x1b" not in told
    assert "Judging base: 4/4 turns" in told


def test_an_ascii_terminal_gets_look_alikes() -> None:
    text = "from trainer.util.cli import exit_code\nwith exit_code():\n    print('a → b – 99% ↑')"
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "src"), "PYTHONIOENCODING": "ascii"}
    done = subprocess.run([sys.executable, "-c", text], env=environment, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "a -> b - 99% ^\n", "")
