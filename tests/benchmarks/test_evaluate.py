"""The evaluation benchmarks work on a finished run, and report what is missing in other folders."""

import json
import runpy
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from tests.support.quick import ROOT
from trainer.config import Config
from trainer.training.train import train_run

BENCHMARKS = ROOT / "benchmarks"


@pytest.fixture
def run_folder(quick_config: Callable[..., Config]) -> Path:
    """A finished run with an adapter that changes the answers."""
    folder = train_run(quick_config("train.max_steps=4", "train.learning_rate=0.05")).output_dir
    # Like a checkpoint of the same training, but with half the effect.
    half = folder / "half"
    half.mkdir()
    shutil.copy(folder / "adapter_config.json", half)
    weights = load_file(folder / "adapter_model.safetensors")
    save_file({k: v * 0.5 if "lora_B" in k else v for k, v in weights.items()}, half / "adapter_model.safetensors")
    return folder


def script(name: str, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    return runpy.run_path(str(BENCHMARKS / name))


def test_all_four_sides_are_timed_in_both_states(
    run_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = tmp_path / "evaluate.json"
    main = script("evaluate.py", monkeypatch)["main"]
    options = ["--sessions", "2", "--repeats", "1", "--json", str(target)]
    assert main(["--run", str(run_folder), *options]) == 0
    result = json.loads(target.read_text(encoding="utf-8"))
    assert list(result["states"]) == ["base", "trained"]
    for state in result["states"].values():
        assert list(state["seconds"]) == ["generate_each", "generate_batched", "project", "perplexity"]
        assert all(seconds > 0 for seconds in state["seconds"].values())
        assert state["passes_per_turn"]["project"] < state["passes_per_turn"]["generate_each"]
        assert 0 <= state["agreement"] <= 1
        assert state["identical"] == 1
    assert result["sessions"] == 2


def test_a_tiny_model_with_recurrent_layers_needs_no_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    target = tmp_path / "evaluate.json"
    main = script("evaluate.py", monkeypatch)["main"]
    assert main(["--tiny", "lfm2", "--sessions", "1", "--repeats", "1", "--json", str(target)]) == 0
    result = json.loads(target.read_text(encoding="utf-8"))
    assert (result["family"], result["sessions"], result["turns"]) == ("lfm2", 1, 12)
    assert list(result["states"]) == ["all_differ", "most_agree"]
    assert result["states"]["all_differ"]["agreement"] < 0.1 < 0.5 < result["states"]["most_agree"]["agreement"]
    for state in result["states"].values():
        assert state["identical"] == 1
        passes = state["passes_per_turn"]
        assert list(passes) == ["generate_each", "generate_batched", "project", "perplexity"]
        assert passes["perplexity"] == 1 / 12
        assert passes["project"] < passes["generate_each"] / 4
    assert "passes per turn" in capsys.readouterr().out


def test_an_unknown_family_is_refused(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    assert script("evaluate.py", monkeypatch)["main"](["--tiny", "qwen9"]) == 2
    assert "unknown family; use one of qwen3_next" in capsys.readouterr().err


def test_answers_are_compared_for_every_adapter(
    run_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = tmp_path / "exactness.json"
    main = script("exactness.py", monkeypatch)["main"]
    options = ["--adapter", str(run_folder / "half"), "--sessions", "1", "--json", str(target)]
    assert main(["--run", str(run_folder), *options]) == 0
    states = json.loads(target.read_text(encoding="utf-8"))["states"]
    assert list(states) == ["base", str(run_folder / "half"), "trained"]
    assert all(state["identical"] == state["turns"] > 0 for state in states.values())


def test_a_difference_is_shown_with_its_gap(run_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    module = script("exactness.py", monkeypatch)
    from finished_run import load_run

    run = load_run(run_folder, n_sessions=1, dtype="float32")
    ids = torch.tensor([list(run.examples[0].prompt_ids)])
    logits = run.model(input_ids=ids).logits[0, -1]
    best, second = logits.topk(2).indices.tolist()
    answers = [[(best,)], [(second,)]]
    one = type(run)(run.model, run.examples[:1], run.rows, run.settings, run.pad_token_id, run.dtype)
    (difference,) = module["find_differences"](one, *answers)
    assert (difference["position"], difference["ours"], difference["theirs"]) == (0, best, second)
    assert difference["gap"] == pytest.approx(float((logits[best] - logits[second]).detach()), abs=1e-5)


@pytest.mark.parametrize("name", ["evaluate.py", "exactness.py"])
def test_a_missing_run_gets_one_message(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert script(name, monkeypatch)["main"](["--run", str(tmp_path)]) == 2
    assert "run `make demo` first" in capsys.readouterr().err
