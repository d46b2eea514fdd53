"""A merged model answers like the adapter, or is not written."""

import dataclasses
import json
from pathlib import Path
from typing import Any

import merge as merge_script
import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from tests.support.tiny_runs import make_run
from trainer.data.chat_setup import make_chat_setup
from trainer.errors import ModelError, OutputError
from trainer.generation.settings import decode_settings
from trainer.serving import merge as merging
from trainer.serving.logits import LogitAgreement
from trainer.training.finished_run import FinishedRun
from trainer.training.load_run import load_adapted


@pytest.fixture
def run(tiny_model_folder: Path, tmp_path: Path) -> FinishedRun:
    return make_run(tiny_model_folder, tmp_path / "run")


def test_the_merged_folder_is_a_complete_model(run: FinishedRun, tmp_path: Path) -> None:
    report = merging.merge_run(run, tmp_path / "merged", n_sessions=1)
    assert report.in_memory.argmax_agreement == report.stored.argmax_agreement == 1.0
    assert report.stored.max_difference < 1e-3 * report.stored.largest_logit
    assert report.stored.adapter_effect > 0.01
    merged = AutoModelForCausalLM.from_pretrained(tmp_path / "merged")
    ids = torch.tensor([list(range(5, 60))])
    with torch.inference_mode():
        assert torch.allclose(merged(ids).logits, load_adapted(run)(ids).logits, atol=1e-3)
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "merged")
    assert tokenizer.chat_template == run.template.read_text(encoding="utf-8")
    assert (tmp_path / "merged" / "model.safetensors").is_file()
    assert json.loads((tmp_path / "merged" / "merge.json").read_text())["dtype"] == "float32"
    stops = json.loads((tmp_path / "merged" / "generation_config.json").read_text())["eos_token_id"]
    encoder = make_chat_setup(run.cfg, folder=run.path).encoder
    assert set(stops) == decode_settings(run.cfg, encoder, load_adapted(run)).stop_token_ids
    assert set(encoder.stop_token_ids) <= set(stops)


def test_a_model_stored_in_half_precision_still_agrees(run: FinishedRun, tmp_path: Path) -> None:
    report = merging.merge_run(run, tmp_path / "merged", dtype="bfloat16", n_sessions=1)
    assert 0 < report.stored.mean_difference < report.stored.adapter_effect
    assert report.in_memory.max_difference < report.stored.max_difference


def test_a_wrong_merge_is_caught_and_nothing_is_written(
    run: FinishedRun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(merging, "merge", lambda model: model.unload())  # the base model without the adapter
    with pytest.raises(ModelError, match="does not answer like the adapter"):
        merging.merge_run(run, tmp_path / "out" / "merged", n_sessions=1)
    assert not (tmp_path / "out").exists()


def test_a_wrong_file_is_caught(run: FinishedRun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write = merging._write

    def spoil(run: FinishedRun, merged: Any, folder: Path, **options: Any) -> None:
        with torch.no_grad():
            merged.model.layers[1].mlp.down_proj.weight.mul_(1.05)
        write(run, merged, folder, **options)

    monkeypatch.setattr(merging, "_write", spoil)
    with pytest.raises(ModelError, match="Nothing was written"):
        merging.merge_run(run, tmp_path / "out" / "merged", n_sessions=1)
    assert not list((tmp_path / "out").iterdir())


def test_a_folder_in_use_is_refused_and_an_empty_one_is_used(
    run: FinishedRun, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "merged"
    output.mkdir()
    assert merge_script.main(["--run", str(run.path), "--output", str(output), "--sessions", "1"]) == 0
    assert "same most likely token at 100.00%" in capsys.readouterr().out
    with pytest.raises(OutputError, match="not empty"):
        merging.merge_run(run, output)


def test_a_quantized_base_is_refused_with_advice(run: FinishedRun, tmp_path: Path) -> None:
    model = run.cfg.model.model_copy(update={"quantization": "4bit"})
    quantized = FinishedRun(run.path, run.cfg.model_copy(update={"model": model}), run.adapter)
    with pytest.raises(ModelError, match=r"4bit.*tool-sft serve"):
        merging.merge_run(quantized, tmp_path / "merged")


def test_an_impossible_output_folder_is_reported_before_anything_is_loaded(
    run: FinishedRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(merging, "load_adapted", lambda *_, **__: pytest.fail("loaded"))
    with pytest.raises(OutputError, match=r"--output.*chat_template\.jinja is a file"):
        merging.merge_run(run, run.template / "merged")


def test_a_full_disk_is_an_output_error(run: FinishedRun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: Any, **__: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(merging, "_write", full)
    with pytest.raises(OutputError, match="No space left"):
        merging.merge_run(run, tmp_path / "merged", n_sessions=1)
    assert not (tmp_path / "merged").exists()


def test_a_merge_as_different_as_the_base_model_is_refused() -> None:
    rounded = LogitAgreement(1, 0.2, 0.05, 20.0, 0.05, 1.0)  # no more than bfloat16 rounding of the logits
    assert "--dtype float32" in str(rounded.problem(torch.bfloat16))
    assert dataclasses.replace(rounded, mean_difference=0.04).problem(torch.bfloat16) is None
    assert dataclasses.replace(rounded, mean_difference=0.0, adapter_effect=0.0).problem(torch.bfloat16) is None


def test_nan_does_not_agree() -> None:
    nothing = LogitAgreement(1, float("nan"), float("nan"), 10.0, 1.0, 1.0)
    assert nothing.problem(torch.float32)
    assert nothing.problem(torch.bfloat16)
