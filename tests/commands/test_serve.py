"""`tool-sft serve` prints vLLM's command, or becomes the server."""

import os
import re
import shlex
import urllib.request
from pathlib import Path
from typing import Any

import pytest
import serve

from tests.support.tiny_runs import make_run, serving
from trainer.serving.local.service import load_service
from trainer.serving.plan import plan_serving
from trainer.training.finished_run import read_run
from trainer.util.messages import messages_shown


@pytest.fixture
def folder(tiny_model_folder: Path, tmp_path: Path) -> Path:
    return make_run(tiny_model_folder, tmp_path / "carsales").path


def test_print_gives_the_command_line_and_starts_nothing(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(os, "execv", lambda *_: pytest.fail("started"))
    assert serve.main(["--run", str(folder), "--print", "--port", "9000", "--", "--seed", "3"]) == 0
    words = shlex.split(capsys.readouterr().out.replace("\\\n", " "))
    assert words[:2] == ["vllm", "serve"]
    assert words[-4:] == ["--port", "9000", "--seed", "3"]
    folder_of_stops = Path(words[words.index("--generation-config") + 1])
    assert (folder_of_stops / "generation_config.json").is_file()


@pytest.mark.parametrize("port", ["0", "65536", "-1"])
def test_an_invalid_port_is_refused(folder: Path, port: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        serve.main(["--run", str(folder), "--print", f"--port={port}"])
    assert "between 1 and 65535" in capsys.readouterr().err


def test_the_script_becomes_vllm(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = tmp_path / "vllm"
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    started: list[Any] = []
    monkeypatch.setattr(os, "execv", lambda *arguments: started.append(arguments))
    serve.main(["--run", str(folder), "--vllm", str(program)])
    ((path, command),) = started
    assert path == command[0] == str(program)
    assert "--enable-lora" in command


def test_without_vllm_the_script_says_what_to_do(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PATH", "/nonexistent")
    monkeypatch.setattr("sys.executable", "/nonexistent/python")
    assert serve.main(["--run", str(folder)]) == 2
    assert "--engine transformers" in capsys.readouterr().err


def test_the_small_server_gets_the_plan(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[Any] = []
    monkeypatch.setattr("trainer.serving.local.server.serve_run", lambda run, plan, **where: seen.append((plan, where)))
    assert serve.main(["--run", str(folder), "--engine", "transformers", "--name", "x", "--port", "81"]) == 0
    ((plan, where),) = seen
    assert plan.names[0] == "x"
    assert where == {"host": "127.0.0.1", "port": 81}


def test_the_small_server_shows_each_request(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = read_run(folder)
    with messages_shown(), serving(load_service(run, plan_serving(run))) as url:
        urllib.request.urlopen(f"{url}/models").read()
    assert re.search(r'^\d\d:\d\d:\d\d "GET /v1/models HTTP/1.1" 200', capsys.readouterr().err, flags=re.MULTILINE)


def test_what_follows_two_dashes_is_not_for_the_small_server(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        serve.main(["--run", str(folder), "--engine", "transformers", "--", "--seed", "3"])
    assert "need --engine vllm" in capsys.readouterr().err
