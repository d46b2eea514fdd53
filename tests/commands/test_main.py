"""`tool-sft`: the right command runs, mistakes are named, help is instant, and messages reach the terminal."""

import argparse
import importlib
import logging
import subprocess
import sys
import time
from pathlib import Path

import pytest

import trainer.commands
from tests.support.quick import ROOT
from trainer.commands.main import COMMANDS, main
from trainer.errors import DataError
from trainer.util.cli import exit_code
from trainer.util.progress import progress_bar

SCRIPTS = {"bench": "bench_serving", "check": "check_data"}
WITHOUT_SCRIPT = {"new-domain"}
LIBRARY = logging.getLogger("trainer.some.module")


def tool_sft(*words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "trainer", *words]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)


def test_every_module_of_commands_is_a_command_and_a_script() -> None:
    modules = {path.stem for path in Path(trainer.commands.__path__[0]).glob("*.py")} - {"__init__", "main"}
    assert modules == {name.replace("-", "_") for name in COMMANDS}
    scripts = {SCRIPTS.get(name, name) for name in set(COMMANDS) - WITHOUT_SCRIPT}
    assert all((ROOT / "scripts" / f"{script}.py").is_file() for script in scripts)


def test_help_names_every_command() -> None:
    done = tool_sft("--help")
    assert done.returncode == 0
    assert all(f"\n  {name} " in done.stdout for name in COMMANDS)


@pytest.mark.parametrize("name", ["", *COMMANDS])
def test_help_answers_in_under_half_a_second(name: str) -> None:
    seconds = []
    for _ in range(5):
        started = time.perf_counter()
        done = tool_sft(*filter(None, [name]), "--help")
        seconds.append(time.perf_counter() - started)
        assert done.returncode == 0
        if seconds[-1] < 0.5:
            break
    assert min(seconds) < 0.5


@pytest.mark.parametrize("name", COMMANDS)
def test_examples_show_the_command_as_it_was_started(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    script = SCRIPTS.get(name, name)
    for start, prog in (
        (lambda: main([name, "--help"]), f"tool-sft {name}"),
        (lambda: importlib.import_module(script).main(["--help"]), f"python scripts/{script}.py"),
    )[: 1 if name in WITHOUT_SCRIPT else 2]:
        with pytest.raises(SystemExit, match="0"):
            start()
        usage, _, examples = capsys.readouterr().out.partition("\nexamples:\n")
        assert usage.startswith(f"usage: {prog} ")
        assert examples.startswith(f"  {prog} ")


@pytest.mark.parametrize("name", COMMANDS)
def test_nothing_heavy_is_imported_before_the_arguments_are_read(name: str) -> None:
    code = (
        "import sys\n"
        "from trainer.commands.main import main\n"
        "try:\n    main([sys.argv[1], '--no-such-option'])\nexcept SystemExit:\n    pass\n"
        "heavy = {'torch', 'transformers', 'datasets', 'pydantic', 'rich', 'numpy', 'yaml'} & set(sys.modules)\n"
        "sys.exit(str(heavy) if heavy else 0)\n"
    )
    done = subprocess.run([sys.executable, "-c", code, name], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_the_version_is_that_of_the_package() -> None:
    assert tool_sft("--version").stdout == f"tool-sft {trainer.__version__}\n"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["trian"], "unknown command 'trian', did you mean train?"),
        (["evaluate", "--config", "x"], "unknown command 'evaluate', did you mean eval?"),
        (["xyz"], "unknown command 'xyz' (choose from train, check"),
        ([], "name a command: train, check"),
        (["--config", "x"], "unrecognized arguments: --config x"),
    ],
)
def test_an_unknown_command_is_refused_with_the_nearest_one(
    words: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit, match="2"):
        main(words)
    assert said in capsys.readouterr().err


def test_the_command_runs_and_its_exit_code_is_returned(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[Path] = []

    def run(args: argparse.Namespace) -> int:
        seen.append(args.predictions)
        return 7

    monkeypatch.setattr("trainer.commands.score.run", run)
    assert main(["score", "final.jsonl"]) == 7
    assert seen == [Path("final.jsonl")]


def test_a_mistake_of_the_user_is_one_message_and_exit_code_2(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["score", "missing.jsonl"]) == 2
    told = capsys.readouterr()
    assert told.err.startswith("error: missing.jsonl: predictions cannot be read")
    assert told.out == ""


def test_the_messages_of_the_library_are_shown_while_a_command_runs(capsys: pytest.CaptureFixture[str]) -> None:
    line = "x" * 200 + " [bold] :car: 50%"
    with exit_code(), exit_code():
        LIBRARY.info(line)
        LIBRARY.warning("odd")
        LIBRARY.debug("detail")
        with progress_bar("Counting", total=2, unit="sheep") as advance:
            advance(2)
        logging.getLogger("another.package").info("not ours")
    told = capsys.readouterr()
    assert told.out == ""
    lines = told.err.splitlines()
    assert lines[:2] == [line, "warning: odd"]
    assert lines[2].startswith("Counting: 2/2 sheep | ")
    assert len(lines) == 3


def test_without_a_command_the_library_only_logs(
    capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    with exit_code():
        raise DataError("over")
    capsys.readouterr()
    caplog.set_level("INFO", "trainer")
    LIBRARY.info("hello")
    with progress_bar("Counting", total=2, unit="sheep") as advance:
        advance(2)
    assert capsys.readouterr().err == ""
    assert "hello" in caplog.text
    assert "Counting: 2/2 sheep" in caplog.text


def test_a_traceback_that_is_logged_is_shown(capsys: pytest.CaptureFixture[str]) -> None:
    with exit_code():
        try:
            raise KeyError("gone")
        except KeyError:
            LIBRARY.exception("GET / failed")
    told = capsys.readouterr().err
    assert told.startswith("error: GET / failed\nTraceback")
    assert "KeyError: 'gone'" in told
