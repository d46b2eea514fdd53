"""The parity check passes if the server does what was trained, and fails with the cause if it does not."""

import json
from pathlib import Path
from typing import Any

import parity as parity_script
import pytest
import torch
from transformers.tokenization_utils_base import PreTrainedTokenizerBase

import car_sales
from tests.support.quick import ROOT, tiny_model
from tests.support.tiny_runs import make_run, serving
from trainer.serving.local.requests import RequestError
from trainer.serving.local.service import load_service
from trainer.serving.plan import plan_serving
from trainer.training.finished_run import FinishedRun


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory, tokenizer: PreTrainedTokenizerBase) -> Path:
    folder = tmp_path_factory.mktemp("base")
    tiny_model(len(tokenizer)).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def run(base: Path, tmp_path_factory: pytest.TempPathFactory) -> FinishedRun:
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(ROOT)
        return make_run(base, tmp_path_factory.mktemp("run") / "carsales")


def check(url: str, run: FinishedRun, tmp_path: Path, *extra: str) -> tuple[int, dict[str, Any]]:
    report = tmp_path / "parity.json"
    words = ["--run", str(run.path), "--endpoint", url, "--turns", "2", "--json", str(report), *extra]
    code = parity_script.main([*words, *([] if "--model" in extra else ["--model", "carsales"])])
    return code, json.loads(report.read_text())


def test_the_run_agrees_with_itself_and_so_does_its_base_model_by_name(
    run: FinishedRun, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with serving(load_service(run, plan_serving(run))) as url:
        for extra, adapter_on in (((), True), (("--model", run.cfg.model.base_model_name), False)):
            code, found = check(url, run, tmp_path, *extra)
            assert (code, found["passed"], found["cause"], found["adapter_on"]) == (0, True, None, adapter_on)
            assert (found["prompts_agree"], found["answer_agreement"], found["n_telling"]) == (True, 1.0, 2)
            assert (found["sources"], found["n_compared"]) == ({"response": 2}, 2)
            assert capsys.readouterr().out.startswith("parity: the server does what was trained")


@pytest.mark.parametrize("with_tokens", [True, False])
def test_an_adapter_that_is_off_is_named_as_the_cause(
    run: FinishedRun, tmp_path: Path, with_tokens: bool, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    service = load_service(run, plan_serving(run))
    generate, complete = type(service.engine).generate, type(service).complete

    def without_adapter(self: Any, *args: Any, adapted: bool, **options: Any) -> Any:
        return generate(self, *args, adapted=False, **options)

    monkeypatch.setattr(type(service.engine), "generate", without_adapter)
    if not with_tokens:
        text_only = {"return_token_ids": False}
        monkeypatch.setattr(type(service), "complete", lambda s, body, send: complete(s, body | text_only, send=send))
    with serving(service) as url:
        code, found = check(url, run, tmp_path)
    assert (code, found["passed"], found["cause"], found["adapter_on"]) == (1, False, "adapter_off", False)
    assert (found["prompts_agree"], {answer["kind"] for answer in found["answers"]}) == (True, {"other_model"})
    out = capsys.readouterr().out
    assert out.startswith("parity fails (adapter_off): 2 of 2 answers are those of the base model")
    assert "the answer of the base model" in out


def test_a_base_model_that_answers_with_the_adapter_is_named(
    run: FinishedRun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    service = load_service(run, plan_serving(run))
    generate = type(service.engine).generate

    def with_adapter(self: Any, *args: Any, adapted: bool, **options: Any) -> Any:
        return generate(self, *args, adapted=True, **options)

    monkeypatch.setattr(type(service.engine), "generate", with_adapter)
    with serving(service) as url:
        code, found = check(url, run, tmp_path, "--model", run.cfg.model.base_model_name)
    assert (code, found["cause"], found["adapter_on"]) == (1, "adapter_on", True)


def test_a_changed_template_is_caught_and_shown(
    run: FinishedRun, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    service = load_service(run, plan_serving(run))
    template = run.template.read_text(encoding="utf-8")
    service.plan.chat.tokenizer.chat_template = "{{ '<|im_start|>system\nBe brief.<|im_end|>\n' }}" + template
    with serving(service) as url:
        code, found = check(url, run, tmp_path)
    assert (code, found["cause"], found["prompts_agree"], len(found["prompts"])) == (1, "prompt_differs", False, 2)
    assert "Be brief" in found["prompts"][0]["served"]
    out = capsys.readouterr().out
    assert out.startswith("parity fails (prompt_differs): 2 of 2 prompts differ")
    assert "prompts: 0 of 2 equal" in out


@pytest.mark.parametrize("changed", ["adapter", "base model"])
def test_other_weights_are_named_with_the_first_differing_token_and_its_margin(
    run: FinishedRun, base: Path, tmp_path: Path, changed: str, capsys: pytest.CaptureFixture[str]
) -> None:
    other = make_run(base, tmp_path / "other", scale=0.8) if changed == "adapter" else run
    service = load_service(other, plan_serving(other, name="carsales"))
    if changed == "base model":
        torch.manual_seed(3)
        with torch.no_grad():
            for name, parameter in service.engine._model.named_parameters():
                if "lora" not in name and parameter.dim() == 2:
                    parameter.add_(torch.randn_like(parameter) * parameter.std())
    with serving(service) as url:
        code, found = check(url, run, tmp_path)
    assert (code, found["cause"], found["adapter_on"], found["answer_agreement"]) == (1, "other_weights", None, 0)
    difference = found["answers"][0]
    assert (difference["first"], difference["kind"]) == (0, "neither")
    assert difference["margin"] > 0
    assert difference["in_process"] != difference["served"]
    assert "other_weights): 2 of 2 answers differ by more than rounding, and none is" in capsys.readouterr().out


def test_an_adapter_without_effect_cannot_be_shown_to_be_on(base: Path, tmp_path: Path) -> None:
    run = make_run(base, tmp_path / "carsales", scale=0.0)
    with serving(load_service(run, plan_serving(run))) as url:
        code, found = check(url, run, tmp_path)
    assert (code, found["adapter_on"], found["n_telling"]) == (0, None, 0)
    assert "cannot show whether the adapter is on" in found["verdict"]


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
        assert (code, found["sources"], found["answer_agreement"]) == (0, {source: 2}, 1.0)
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
    assert (code, found["cause"], found["prompts_agree"], found["n_errors"]) == (1, "no_answer", False, 1)


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
    assert (code, found["sources"], found["n_errors"], found["answer_agreement"]) == (0, {"tokenize": 2}, 0, 1.0)


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
