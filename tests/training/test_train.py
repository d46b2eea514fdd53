"""A whole run on a tiny random model writes its files, can be repeated exactly, and refuses a user's mistakes."""

import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

import car_sales
from tests.support.interrupted import SHORT_SESSIONS
from trainer.chat import ChatEncoder
from trainer.config import Config, load_config
from trainer.data.domains import load_domain
from trainer.errors import ConfigError, ModelError, OutputError
from trainer.generation.settings import decode_settings
from trainer.kernels import blocked_attention, fast_step, frozen_layers, fused_lora
from trainer.scoring.predictions import read_predictions
from trainer.tool_trainer import ToolTrainer
from trainer.training import train as train_module
from trainer.training.run_place import claim, open_place
from trainer.training.train import RunResult, train_run

MakeConfig = Callable[..., Config]


@pytest.fixture
def finished(quick_config: MakeConfig) -> RunResult:
    """A run of two steps, with an evaluation after the first and the second."""
    return train_run(quick_config("train.eval_strategy=steps", "train.eval_steps=1", "train.logging_steps=1"))


def read_json(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))


def test_the_run_folder_explains_itself(finished: RunResult) -> None:
    folder = finished.output_dir
    names = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    assert names >= {
        "adapter_config.json",
        "adapter_model.safetensors",
        "tokenizer.json",
        "chat_template.jinja",
        "config.resolved.yaml",
        "environment.json",
        "metrics.json",
        "history.jsonl",
        "report.html",
        "predictions/base.jsonl",
        "predictions/step-000001.jsonl",
        "predictions/step-000002.jsonl",
        "predictions/final.jsonl",
        "predictions/tools.json",
    }
    metrics = read_json(folder / "metrics.json")
    assert list(metrics) == ["base", "final", "train", "data"]
    for state in ("base", "final"):
        for name in (
            "tool_name_f1",
            "arguments_parse_rate",
            "arguments_exact_match",
            "hallucination_rate",
            "perplexity",
        ):
            assert name in metrics[state]
    assert metrics["final"]["n_turns"] == len(read_predictions(folder / "predictions" / "final.jsonl"))
    assert metrics["train"]["n_steps"] == 2
    assert metrics["data"]["train"]["n_sessions"] == 6
    assert ">perplexity<" in (folder / "report.html").read_text(encoding="utf-8")


def test_the_resolved_configuration_names_every_default_and_runs_again(finished: RunResult) -> None:
    cfg = load_config(finished.output_dir / "config.resolved.yaml")
    assert cfg.train["weight_decay"] == 0.0
    assert cfg.train["warmup_ratio"] == 0.05
    assert cfg.train["max_steps"] == 2


def test_history_has_every_logged_step_and_evaluation(finished: RunResult) -> None:
    lines = (finished.output_dir / "history.jsonl").read_text(encoding="utf-8").splitlines()
    records = [json.loads(line) for line in lines]
    assert [r["step"] for r in records if "loss" in r] == [1, 2]
    assert [r["step"] for r in records if "eval_perplexity" in r] == [1, 2]


def test_the_same_configuration_gives_the_same_numbers(quick_config: MakeConfig, tmp_path: Path) -> None:
    runs = [train_run(quick_config(f"train.output_dir={tmp_path / name}", "lora.dropout=0.1")) for name in "ab"]
    first, second = (read_json(run.output_dir / "metrics.json") for run in runs)
    for state in ("base", "final"):
        first[state].pop("runtime_s")
        second[state].pop("runtime_s")
        assert first[state] == second[state]
    assert first["train"]["loss"] == second["train"]["loss"]
    weights = [load_file(run.output_dir / "adapter_model.safetensors") for run in runs]
    assert all(torch.equal(weights[0][name], weights[1][name]) for name in weights[0])


def test_in_bfloat16_on_a_cpu_training_and_evaluation_use_the_fast_products(
    quick_config: MakeConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: set[tuple[str, bool]] = set()

    def noted(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **kwargs: Any) -> Any:
            seen.add((name, torch.is_inference_mode_enabled()))
            return function(*args, **kwargs)

        return call

    attend, add = blocked_attention.blocked_attention, fused_lora._InPlace.forward
    monkeypatch.setattr(blocked_attention, "blocked_attention", noted("attention", attend))
    monkeypatch.setattr(fused_lora._InPlace, "forward", staticmethod(noted("lora", add)))
    train_run(quick_config("model.torch_dtype=bfloat16"))
    assert seen == {("attention", False), ("attention", True), ("lora", False)}


def test_later_epochs_begin_above_the_frozen_layers_and_learn_the_same(
    quick_config: MakeConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    replays: list[torch.Tensor] = []
    replayed = frozen_layers.replayed

    def noted(layers: Any, n_frozen: int, state: torch.Tensor) -> Any:
        replays.append(state)
        return replayed(layers, n_frozen, state)

    monkeypatch.setattr(frozen_layers, "replayed", noted)
    upper = r"lora.target_modules='.*\.layers\.1\..*_proj'"
    settings = (upper, "train.max_steps=-1", "train.num_train_epochs=2", "train.learning_rate=0.01", "lora.dropout=0.1")
    folders = []
    for name in ("kept", "again"):
        folders.append(train_run(quick_config(*settings, f"train.output_dir={tmp_path / name}")).output_dir)
        monkeypatch.setattr(fast_step, "find_frozen_layers", lambda *_, **__: None)
    assert len(replays) == 1 + 6  # the trial, and the six rows of the second epoch
    first, second = (load_file(folder / "adapter_model.safetensors") for folder in folders)
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert any(weight.any() for name, weight in first.items() if "lora_B" in name)


def test_training_moves_the_adapter_and_lowers_the_loss(quick_config: MakeConfig) -> None:
    result = train_run(quick_config("train.max_steps=12", "train.learning_rate=0.05", "train.logging_steps=1"))
    history = (result.output_dir / "history.jsonl").read_text(encoding="utf-8").splitlines()
    losses = [record["loss"] for record in map(json.loads, history) if "loss" in record]
    assert losses[-1] < losses[0] - 0.05
    assert result.states["final"]["perplexity"] < result.states["base"]["perplexity"]


def test_turns_that_do_not_fit_in_the_context_are_named_in_the_report(quick_config: MakeConfig) -> None:
    bundle = car_sales.build_datasets(quick_config())
    longest = max([*bundle.eval_dataset["length"], *bundle.train_dataset["length"]])
    # The longest session fits, but its last turns with a long answer do not.
    result = train_run(quick_config(f"data.max_context_length={longest}", "eval.max_new_tokens_eval=400"))
    report = (result.output_dir / "report.html").read_text(encoding="utf-8")
    predictions = read_predictions(result.output_dir / "predictions" / "final.jsonl")
    skipped = [p for p in predictions if p.finish_reason == "skipped_for_length"]
    assert 0 < len(skipped) == result.states["final"]["n_skipped_for_length"] < len(predictions)
    assert f"{len(skipped)} turns skipped for length" in report
    assert f"{skipped[0].session_id}/{skipped[0].turn}" in report


def test_stop_tokens_come_from_the_template_and_the_generation_config(quick_config: MakeConfig, tokenizer: Any) -> None:
    cfg = quick_config("eval.temperature=0.5")
    encoder = ChatEncoder(tokenizer)
    model = SimpleNamespace(generation_config=SimpleNamespace(eos_token_id=[7, 9]))
    settings = decode_settings(cfg, encoder, model)
    assert settings.stop_token_ids == {7, 9, *encoder.stop_token_ids}
    assert (settings.temperature, settings.max_new_tokens, settings.max_context_tokens) == (0.5, 8, 4096)
    assert decode_settings(cfg, encoder, model, greedy=True).temperature == 0.0


def test_the_base_evaluation_can_be_left_out(quick_config: MakeConfig) -> None:
    result = train_run(quick_config("eval.evaluate_base=false"))
    assert list(result.states) == ["final"]
    assert not (result.output_dir / "predictions" / "base.jsonl").exists()


def test_batching_does_not_change_the_training(quick_config: MakeConfig, tmp_path: Path) -> None:
    common = ("train.max_steps=1", "data.train_split=train[:2]", "train.train_sampling_strategy=sequential")
    weights = []
    for batch, accumulate in ((1, 2), (2, 1)):
        sizes = (
            f"train.per_device_train_batch_size={batch}",
            f"train.gradient_accumulation_steps={accumulate}",
        )
        run = train_run(quick_config(*common, *sizes, f"train.output_dir={tmp_path / str(batch)}"))
        weights.append(load_file(run.output_dir / "adapter_model.safetensors"))
    for name in weights[0]:
        torch.testing.assert_close(weights[0][name], weights[1][name], rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize(
    ("dtype", "mixed"),
    [("float32", "true"), ("bfloat16", "true"), ("bfloat16", "false"), ("float16", "true"), ("float16", "false")],
)
def test_every_precision_of_weights_trains_and_evaluates_with_and_without_bfloat16(
    dtype: str, mixed: str, quick_config: MakeConfig
) -> None:
    small = (*SHORT_SESSIONS, "data.train_split=train[:2]", "train.max_steps=1", "eval.max_new_tokens_eval=2")
    result = train_run(quick_config(*small, f"model.torch_dtype={dtype}", f"train.bf16={mixed}"))
    assert 0 < result.states["final"]["perplexity"] < float("inf")


def test_gradient_checkpointing_trains_the_same(quick_config: MakeConfig, tmp_path: Path) -> None:
    runs = [
        train_run(quick_config(f"train.gradient_checkpointing={value}", f"train.output_dir={tmp_path / value}"))
        for value in ("false", "true")
    ]
    first, second = (read_json(run.output_dir / "metrics.json")["final"]["perplexity"] for run in runs)
    assert first == pytest.approx(second, rel=1e-5)


def test_a_card_that_cannot_be_built_costs_no_run(
    quick_config: MakeConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(*args: Any) -> str:
        raise LookupError("no such template")

    monkeypatch.setattr(train_module, "card_of_run", broken)
    run = train_run(quick_config(f"train.output_dir={tmp_path / 'run'}"))
    assert "README.md: this file could not be built (LookupError: no such template)" in caplog.text
    assert {"adapter_model.safetensors", "report.html"} <= {path.name for path in run.output_dir.iterdir()}
    assert not (run.output_dir / "README.md").exists()


def test_a_folder_in_use_is_refused_and_left_alone(quick_config: MakeConfig, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    folder.mkdir()
    (folder / "thesis.txt").write_text("mine", encoding="utf-8")
    with pytest.raises(OutputError, match="is not empty"):
        train_run(quick_config("train.overwrite_output_dir=false"))
    with pytest.raises(OutputError, match="no run wrote"):
        train_run(quick_config("train.overwrite_output_dir=true"))
    assert [path.name for path in folder.iterdir()] == ["thesis.txt"]


def test_an_earlier_run_is_replaced_and_nothing_else(quick_config: MakeConfig, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    (folder / "predictions").mkdir(parents=True)
    for name in ("config.resolved.yaml", "predictions/step-000900.jsonl", "photo.jpg", "predictions/notes.txt"):
        (folder / name).write_text("old", encoding="utf-8")
    train_run(quick_config("train.overwrite_output_dir=true"))
    assert (folder / "metrics.json").exists()
    assert (folder / "config.resolved.yaml").read_text(encoding="utf-8") != "old"
    assert not (folder / "predictions" / "step-000900.jsonl").exists()
    assert {(folder / name).read_text(encoding="utf-8") for name in ("photo.jpg", "predictions/notes.txt")} == {"old"}


def test_an_evaluation_of_a_server_from_before_the_run_is_no_obstacle_and_is_kept(tmp_path: Path) -> None:
    report = tmp_path / "served" / "base" / "report.html"
    report.parent.mkdir(parents=True)
    report.write_text("mine", encoding="utf-8")
    for overwrite in (False, True):
        claim(tmp_path, overwrite=overwrite, resume=False)
        with open_place(tmp_path, resume=False):
            assert report.exists()


@pytest.mark.parametrize(
    ("override", "error", "expected"),
    [
        (
            "lora.target_modules=[q_proj, qkv]",
            ModelError,
            "no module is named qkv; linear modules of this model",
        ),
        ("data.max_context_length=9000", ModelError, "supports at most 8192 tokens; set it to 8192"),
        ("model.base_model_name=./nowhere", ModelError, r"model.base_model_name +\./nowhere does not exist"),
        ("model.base_model_name=package:nowhere", ModelError, "not installed"),
        ("model.chat_template_path=nowhere.jinja", ModelError, "cannot be read"),
        ("model.quantization=4bit", ConfigError, "needs bitsandbytes, which is not installed"),
        ("train.fp16=true", ConfigError, r"train.fp16 +needs a GPU, and train.use_cpu is set"),
        ("train.tf32=true", ConfigError, r"train.tf32 +needs an NVIDIA GPU"),
        ("data.load_module=no_such_domain", ConfigError, "there is no package no_such_domain"),
        ("data.load_module=json", ConfigError, "has no build_datasets"),
        ("train.report_to=trackio", ConfigError, "uv sync --extra trackio"),
        ("train.report_to=mlflow", ConfigError, "must be one of"),
        ("train.eval_strategy=sometimes", ConfigError, r"train.eval_strategy +got 'sometimes'"),
        ("train.lr_scheduler_type=wavy", ConfigError, r"train.lr_scheduler_type +got 'wavy'"),
    ],
)
def test_a_mistake_is_reported_in_one_message_and_nothing_is_written(
    override: str, error: type[Exception], expected: str, quick_config: MakeConfig, tmp_path: Path
) -> None:
    with pytest.raises(error, match=expected):
        train_run(quick_config(override))
    assert not (tmp_path / "run").exists()


def test_batches_on_a_cpu_have_few_lengths(quick_config: MakeConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    widths: list[int] = []
    compute_loss = ToolTrainer.compute_loss

    def watched(trainer: ToolTrainer, model: Any, inputs: Any, *args: Any, **options: Any) -> Any:
        widths.append(inputs["input_ids"].shape[1])
        return compute_loss(trainer, model, inputs, *args, **options)

    monkeypatch.setattr(ToolTrainer, "compute_loss", watched)
    train_run(quick_config())
    assert widths
    assert all(width % 32 == 0 for width in widths)


def test_a_domain_that_fails_to_import_keeps_its_own_error(
    tmp_path: Path, quick_config: MakeConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "half_domain.py").write_text("import a_package_that_is_not_there\n", encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ModuleNotFoundError, match="a_package_that_is_not_there"):
        load_domain(quick_config("data.load_module=half_domain"))
