"""The light installation: the scripts that ask a server, in a clean environment with the group `eval` and no torch."""

import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.support.quick import ROOT
from tests.support.served import answering, gold_message, served_config, turns_of
from tests.support.streaming_server import streaming
from tests.support.stub_server import StubServer

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the interpreter of a fresh virtual environment with the group `eval`."""
    folder = tmp_path_factory.mktemp("light")
    subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)
    interpreter = folder / "bin" / "python"
    newer_pip = _pip(interpreter, "--upgrade", "pip>=25.1")  # the first that knows dependency groups
    if newer_pip.returncode:
        pytest.skip(f"no package index can be reached: {newer_pip.stderr.strip().splitlines()[-1]}")
    group = _pip(interpreter, "--group", "eval")
    assert group.returncode == 0, group.stderr
    return interpreter


def test_torch_is_not_installed(python: Path) -> None:
    code = "import importlib.util as u, sys; sys.exit(any(u.find_spec(n) for n in ('torch', 'peft', 'trainer')))"
    assert _run(python, "-c", code).returncode == 0


def test_a_served_model_is_scored(python: Path, tmp_path: Path, embedded_folder: Path) -> None:
    cfg = served_config(tmp_path)
    sets = [f"train.output_dir={tmp_path}", "data.eval_split=test[:3]", "data.n_tool_sessions_eval=3"]
    sets.append(f"data.tokenizer={embedded_folder}")
    flags = [part for key in sets for part in ("--set", key)]
    turns = turns_of(cfg)
    with StubServer(answering(turns, gold_message)) as server:
        config = ("--config", "configs/car_sales/quickstart.yaml", *flags)
        done = _run(python, "scripts/eval.py", *config, "--endpoint", server.url, "--model", "base")
        assert done.returncode == 0, done.stderr
        assert server.requests.total() == len(turns)
    assert "PyTorch" not in done.stderr
    assert "1.000" in done.stdout


@pytest.mark.parametrize("script", ["scripts/eval.py", "scripts/bench_serving.py"])
def test_help_answers_in_under_half_a_second(python: Path, script: str) -> None:
    seconds = []
    for _ in range(5):
        started = time.monotonic()
        assert _run(python, script, "--help").returncode == 0
        seconds.append(time.monotonic() - started)
    print(f"{script} --help: {min(seconds):.2f} s, median {statistics.median(seconds):.2f} s")
    assert min(seconds) < 0.5


def test_a_server_is_measured(python: Path, tmp_path: Path, embedded_folder: Path) -> None:
    words = ["--config", "configs/car_sales/quickstart.yaml", "--set", f"data.tokenizer={embedded_folder}"]
    words += ["--model", "carsales", "--concurrency", "1,2", "--turns", "2", "--report", str(tmp_path / "bench.html")]
    with streaming() as (url, handler):
        done = _run(python, "scripts/bench_serving.py", *words, "--endpoint", url)
        assert done.returncode == 0, done.stderr
        assert handler.n_asked == 2 * 4 + 2  # cold and warm prompts, and two probes
    assert (tmp_path / "bench.html").is_file()


def _pip(python: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return _run(python, "-m", "pip", "install", "--quiet", *arguments)


def _run(python: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    return subprocess.run(
        [str(python), *arguments], cwd=ROOT, env=environment, capture_output=True, text=True, check=False
    )
