"""The parity check passes if the server does what was trained, and fails if a prompt differs."""

import json
from pathlib import Path
from typing import Any

import parity as parity_script
import pytest

import car_sales
from tests.support.tiny_runs import make_run, serving
from trainer.serving.local.requests import RequestError
from trainer.serving.local.service import load_service
from trainer.serving.parity import Parity
from trainer.serving.plan import plan_serving
from trainer.training.finished_run import FinishedRun


@pytest.fixture
def run(tiny_model_folder: Path, tmp_path: Path) -> FinishedRun:
    return make_run(tiny_model_folder, tmp_path / "carsales")


def check(url: str, run: FinishedRun, tmp_path: Path, *extra: str) -> tuple[int, dict[str, Any]]:
    report = tmp_path / "parity.json"
    words = ["--run", str(run.path), "--endpoint", url, "--turns", "4", "--json", str(report), *extra]
    code = parity_script.main([*words, *([] if "--model" in extra else ["--model", "carsales"])])
    return code, json.loads(report.read_text())


def test_the_run_agrees_with_itself_in_prompts_and_answers(run: FinishedRun, tmp_path: Path) -> None:
    with serving(load_service(run, plan_serving(run))) as url:
        for extra in ((), ("--model", run.cfg.model.base_model_name)):
            code, found = check(url, run, tmp_path, *extra)
            assert (code, found["prompts_agree"], found["answer_agreement"]) == (0, True, 1.0)
            assert found["sources"] == {"response": 4}
            assert found["n_compared"] == 4


def test_a_changed_template_is_caught_and_shown(
    run: FinishedRun, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    service = load_service(run, plan_serving(run))
    template = run.template.read_text(encoding="utf-8")
    service.plan.chat.tokenizer.chat_template = "{{ '<|im_start|>system\nBe brief.<|im_end|>\n' }}" + template
    with serving(service) as url:
        code, found = check(url, run, tmp_path)
    assert (code, found["prompts_agree"], len(found["prompts"])) == (1, False, 4)
    assert "Be brief" in found["prompts"][0]["served"]
    assert "prompts: 0 of 4 equal" in capsys.readouterr().out


def test_another_adapter_is_detected_with_the_first_differing_token_and_a_margin(
    run: FinishedRun, tmp_path: Path, tiny_model_folder: Path
) -> None:
    other = make_run(tiny_model_folder, tmp_path / "other", scale=0.8)
    with serving(load_service(other, plan_serving(other, name="carsales"))) as url:
        code, found = check(url, run, tmp_path)
    assert code == 0
    assert found["answer_agreement"] < 1
    difference = found["answers"][0]
    assert difference["first"] == 0
    assert difference["margin"] > 0
    assert difference["in_process"] != difference["served"]


@pytest.mark.parametrize("source", ["tokenize", "count"])
def test_a_server_that_reports_less_is_still_compared(
    run: FinishedRun, tmp_path: Path, source: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    service = load_service(run, plan_serving(run))
    complete = type(service).complete

    def without_ids(self: Any, body: Any, *, send: Any) -> Any:
        return complete(self, {**body, "return_token_ids": False}, send=send)

    monkeypatch.setattr(type(service), "complete", without_ids)
    if source == "count":
        monkeypatch.setattr(type(service), "tokenize", lambda self, body: {"count": 3})
    with serving(service) as url:
        code, found = check(url, run, tmp_path)
        assert (code, found["sources"], found["answer_agreement"]) == (0, {source: 4}, 1.0)
        service.plan.chat.tokenizer.chat_template = "x" + run.template.read_text(encoding="utf-8")
        assert check(url, run, tmp_path)[0] == 1


def test_a_configuration_alone_compares_prompts(
    run: FinishedRun, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = str(run.path / "config.resolved.yaml")
    with serving(load_service(run, plan_serving(run))) as url:
        words = ["--config", config, "--endpoint", url, "--model", "carsales", "--turns", "2"]
        assert parity_script.main(words) == 0
        assert "greedy" not in capsys.readouterr().out
        assert parity_script.main([*words[:-3], "gpt", "--turns", "2"]) == 2
    assert "gpt is not registered" in capsys.readouterr().err


def test_a_turn_without_an_answer_or_no_turns_at_all_is_not_agreement() -> None:
    nothing = Parity(0, 0, 0, {}, 0, (), 0, (), ())
    assert not nothing.prompts_agree
    assert Parity(4, 0, 0, {"response": 4}, 0, (), 0, (), ()).prompts_agree
    assert not Parity(4, 0, 1, {"response": 3}, 0, (), 0, (), ("HTTP 500",)).prompts_agree


def test_errors_are_reported(run: FinishedRun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    service = load_service(run, plan_serving(run))
    complete, n_asked = type(service).complete, 0

    def failing(self: Any, body: Any, *, send: Any) -> Any:
        nonlocal n_asked
        n_asked += 1
        if n_asked == 1:
            raise RequestError(400, "no")
        return complete(self, body, send=send)

    monkeypatch.setattr(type(service), "complete", failing)
    with serving(service) as url:
        code, found = check(url, run, tmp_path)
    assert (code, found["prompts_agree"], found["n_errors"]) == (1, False, 1)


def test_a_server_without_parser_and_token_ids_gets_requests_that_it_accepts(
    run: FinishedRun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    service = load_service(run, plan_serving(run))
    complete = type(service).complete

    def refusing(self: Any, body: Any, *, send: Any) -> Any:
        if "tool_choice" not in body:
            raise RequestError(400, "requires --enable-auto-tool-choice and --tool-call-parser to be set")
        if "return_token_ids" in body:
            raise RequestError(400, "return_token_ids: extra fields are not permitted")
        return complete(self, body, send=send)

    monkeypatch.setattr(type(service), "complete", refusing)
    with serving(service) as url:
        code, found = check(url, run, tmp_path)
    assert (code, found["sources"], found["n_errors"], found["answer_agreement"]) == (0, {"tokenize": 4}, 0, 1.0)


def test_turns_too_long_for_the_context_are_not_asked(tiny_model_folder: Path, tmp_path: Path) -> None:
    fitting = make_run(tiny_model_folder, tmp_path / "fitting")
    longest = max(car_sales.build_datasets(fitting.cfg).eval_dataset["length"])
    # The longest session fits, but its last turns with a long answer do not.
    changes = (f"data.max_context_length={longest}", "eval.max_new_tokens_eval=100")
    run = make_run(tiny_model_folder, tmp_path / "carsales", *changes)
    with serving(load_service(run, plan_serving(run))) as url:
        _, found = check(url, run, tmp_path)
    assert found["n_skipped"] > 0
    assert (found["n_errors"], found["prompts_agree"]) == (0, True)


def test_an_unset_key_and_an_unwritable_file_are_reported_before_anything_is_asked(
    run: FinishedRun, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["--run", str(run.path), "--endpoint", "http://127.0.0.1:9/v1", "--model", "carsales"]
    assert parity_script.main([*words, "--api-key-env", "NO_SUCH_VARIABLE"]) == 2
    assert "NO_SUCH_VARIABLE is not set" in capsys.readouterr().err
    assert parity_script.main([*words, "--json", str(run.template / "parity.json")]) == 2
    assert "--json" in capsys.readouterr().err


def test_a_run_is_compared_as_it_was_trained(run: FinishedRun, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["--run", str(run.path), "--endpoint", "http://127.0.0.1:9/v1", "--model", "carsales"]
    with pytest.raises(SystemExit, match="2"):
        parity_script.main([*words, "--set", "data.eval_split=train"])
    assert "--set needs --config" in capsys.readouterr().err
