"""`tool-sft chat` asks with the bias of the run, and `tool-sft serve` and `merge` hand it on."""

import io
import json
import sys
from pathlib import Path
from typing import Any

import chat
import pytest
import serve

from tests.support.live_chat import ScriptedTexts, use_script
from tests.support.quick import ROOT
from tests.support.stub_server import StubServer
from tests.support.tiny_runs import make_run
from trainer.run_layout import CALIBRATION_FILE
from trainer.serving.merge import merge_run
from trainer.serving.plan import plan_serving
from trainer.training.finished_run import read_run

BIAS = {"44": 1.5}


@pytest.fixture
def run(tiny_model_folder: Path, tmp_path: Path) -> Path:
    places = [f"data.{key}={ROOT / 'data' / name}" for key, name in (
        ("sysprompt_path", "sysprompt.md"), ("tools_path", "tool_calls.json"),
    )]  # fmt: skip
    folder = make_run(tiny_model_folder, tmp_path / "carsales", *places).path
    content = {"bias": 1.5, "token_ids": [44], "tokens": ["<"]}
    (folder / CALIBRATION_FILE).write_text(json.dumps(content), encoding="utf-8")
    return folder


@pytest.mark.parametrize(("words", "expected"), [([], {44: 1.5}), (["--adapter-off"], {})])
def test_a_chat_in_process_has_the_bias_with_the_adapter_only(
    run: Path, monkeypatch: pytest.MonkeyPatch, words: list[str], expected: dict[int, float]
) -> None:
    seen: list[Any] = []
    use_script(lambda name, value: monkeypatch.setattr(name, value, raising=False), ["Hello."])
    original = ScriptedTexts.generate

    def generate(self: Any, prompt_ids: Any, settings: Any, **options: Any) -> Any:
        seen.append(dict(settings.logit_bias))
        return original(self, prompt_ids, settings, **options)

    monkeypatch.setattr(ScriptedTexts, "generate", generate)
    monkeypatch.setattr(sys, "stdin", io.StringIO("Hi\n"))
    assert chat.main(["--run", str(run), *words]) == 0
    assert seen == [expected]


def test_a_chat_with_a_server_sends_the_bias_to_the_adapter_only(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    base = read_run(run).base_name
    with StubServer(models=("carsales", base)) as server:
        for words in ([], ["--model", base]):
            monkeypatch.setattr(sys, "stdin", io.StringIO("Hi\n"))
            assert chat.main(["--run", str(run), "--endpoint", server.url, *words]) == 0
    assert [body.get("logit_bias") for body in server.bodies] == [BIAS, None]


def test_serve_says_what_requests_should_carry(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert serve.main(["--run", str(run), "--print"]) == 0
    shown = capsys.readouterr()
    assert 'requests to carsales should carry "logit_bias": {"44": 1.5}' in shown.err
    assert "logit_bias" not in shown.out
    (run / CALIBRATION_FILE).unlink()
    assert serve.main(["--run", str(run), "--print"]) == 0
    assert "logit_bias" not in capsys.readouterr().err


def test_a_merged_model_carries_the_file(run: Path, tmp_path: Path) -> None:
    merge_run(read_run(run), tmp_path / "merged", n_sessions=1)
    assert (tmp_path / "merged" / CALIBRATION_FILE).read_bytes() == (run / CALIBRATION_FILE).read_bytes()
    plan = plan_serving(read_run(run), merged=tmp_path / "merged")
    assert plan.logit_bias == BIAS
