"""Going on with a run: from the newest complete checkpoint, and only with the same settings and data."""

import json
import logging
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from tests.support.interrupted import SHORT_SESSIONS, history_of
from trainer.config import Config
from trainer.data.domains import domain_datasets
from trainer.errors import ConfigError, DataError, OutputError, TrainingError
from trainer.run_layout import RunLayout
from trainer.training import train as train_module
from trainer.training.recovery.checkpoints import checkpoints
from trainer.training.run_trainer import RunTrainer
from trainer.training.train import train_run

MakeConfig = Callable[..., Config]
# Two epochs of three steps each, with dropout and accumulation.
RUN = (
    *SHORT_SESSIONS,
    "data.train_split=train[:6]",
    "train.max_steps=-1",
    "train.num_train_epochs=2",
    "train.per_device_train_batch_size=1",
    "train.gradient_accumulation_steps=2",
    "train.logging_steps=1",
    "train.save_strategy=steps",
    "train.save_steps=1",
    "lora.dropout=0.1",
    "train.learning_rate=0.01",
    "eval.evaluate_base=false",
)


class Died(Exception):
    """A machine that dies after a step."""


def die_after(step: int, monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """Let training die when the checkpoint after `step` is complete."""
    save = RunTrainer._save_checkpoint

    def saved(trainer: RunTrainer, model: Any, trial: Any) -> None:
        save(trainer, model, trial)
        if trainer.state.global_step == step:
            raise Died

    monkeypatch.setattr(RunTrainer, "_save_checkpoint", saved)
    return monkeypatch


def same_weights(first: Path, second: Path) -> bool:
    one, two = (load_file(run / "adapter_model.safetensors") for run in (first, second))
    return all(torch.equal(one[name], two[name]) for name in one)


def training_figures(run: Path) -> dict[str, Any]:
    figures: dict[str, Any] = json.loads((run / "metrics.json").read_text(encoding="utf-8"))["train"]
    return figures


def interrupted(make: MakeConfig, *overrides: str, step: int = 4) -> Path:
    """Return the output folder of a run that died."""
    cfg = make(*RUN, *overrides)
    with pytest.MonkeyPatch.context() as patch:
        die_after(step, patch)
        with pytest.raises(Died):
            train_run(cfg)
    return cfg.output_dir


@pytest.mark.parametrize(  # inside the first epoch, between the two, inside the second
    ("strategy", "step"),
    [("group_by_length", 2), ("random", 2), ("random", 3), ("random", 4), ("sequential", 3), ("batch_rebalance", 4)],
)
def test_a_resumed_run_trains_on_the_rows_of_the_uninterrupted_run(
    strategy: str, step: int, quick_config: MakeConfig, tmp_path: Path
) -> None:
    overrides = (
        f"train.train_sampling_strategy={strategy}",
        "train.per_device_train_batch_size=2",
        "train.gradient_accumulation_steps=1",
    )
    whole = train_run(quick_config(*RUN, *overrides, f"train.output_dir={tmp_path / 'whole'}"))
    folder = interrupted(quick_config, *overrides, step=step)
    train_run(quick_config(*RUN, *overrides, "train.resume_from_checkpoint=true"))
    assert same_weights(folder, whole.output_dir)


@pytest.mark.parametrize("step", [2, 8])  # with one row a step: inside the first epoch, and inside the second
def test_a_resumed_run_with_frozen_layers_has_the_same_weights(
    step: int, quick_config: MakeConfig, tmp_path: Path
) -> None:
    overrides = (r"lora.target_modules='.*\.layers\.1\..*_proj'", "train.gradient_accumulation_steps=1")
    whole = train_run(quick_config(*RUN, *overrides, f"train.output_dir={tmp_path / 'whole'}"))
    folder = interrupted(quick_config, *overrides, step=step)
    train_run(quick_config(*RUN, *overrides, "train.resume_from_checkpoint=true"))
    assert same_weights(folder, whole.output_dir)


@pytest.mark.parametrize("n_steps", [0, 1, 4])
def test_a_run_may_end_anywhere_in_an_epoch(n_steps: int, quick_config: MakeConfig, tmp_path: Path) -> None:
    result = train_run(quick_config(*RUN, f"train.max_steps={n_steps}"))
    assert training_figures(result.output_dir)["n_steps"] == n_steps
    assert len(checkpoints(result.output_dir)) == n_steps


def test_a_run_that_died_after_its_last_step_is_finished_without_another_one(
    quick_config: MakeConfig, tmp_path: Path
) -> None:
    whole = train_run(quick_config(*RUN, "train.max_steps=4", f"train.output_dir={tmp_path / 'whole'}"))
    folder = interrupted(quick_config, "train.max_steps=4")
    train_run(quick_config(*RUN, "train.max_steps=4", "train.resume_from_checkpoint=true"))
    assert same_weights(folder, whole.output_dir)
    first, second = (
        json.loads((run / "metrics.json").read_text(encoding="utf-8")) for run in (whole.output_dir, folder)
    )
    assert first["train"]["loss"] == pytest.approx(second["train"]["loss"])
    assert second["train"]["n_steps"] == 4


def test_an_incomplete_checkpoint_is_named_and_the_one_before_it_is_used(
    quick_config: MakeConfig, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    whole = train_run(quick_config(*RUN, f"train.output_dir={tmp_path / 'whole'}"))
    folder = interrupted(quick_config)
    newest = RunLayout(folder).unfinished / "checkpoint-4"
    (newest / "optimizer.pt").write_bytes((newest / "optimizer.pt").read_bytes()[:100])
    with caplog.at_level(logging.WARNING):
        train_run(quick_config(*RUN, "train.resume_from_checkpoint=true"))
    assert "checkpoint-4: incomplete checkpoint, not used (missing or cut off: optimizer.pt)" in caplog.text
    assert same_weights(folder, whole.output_dir)


def test_a_checkpoint_may_be_named(quick_config: MakeConfig, tmp_path: Path) -> None:
    whole = train_run(quick_config(*RUN, f"train.output_dir={tmp_path / 'whole'}"))
    checkpoint = whole.output_dir / "checkpoint-2"
    result = train_run(quick_config(*RUN, f"train.resume_from_checkpoint={checkpoint}"))
    assert same_weights(result.output_dir, whole.output_dir)
    assert history_of(result.output_dir) == history_of(whole.output_dir)
    assert checkpoint.is_dir()


def test_early_stopping_keeps_its_patience_and_its_end(quick_config: MakeConfig, tmp_path: Path) -> None:
    choose = (
        "train.eval_strategy=steps",
        "train.eval_steps=1",
        "train.early_stopping=2",
        "train.load_best_model_at_end=true",
        "train.metric_for_best_model=perplexity",
        "train.learning_rate=1e-30",  # no evaluation is better than the first
    )
    whole = train_run(quick_config(*RUN, *choose, f"train.output_dir={tmp_path / 'whole'}"))
    figures = training_figures(whole.output_dir)
    n_steps = figures["n_steps"]
    assert n_steps < 6
    for step in (n_steps - 1, n_steps):
        out = tmp_path / f"run{step}"
        interrupted(quick_config, *choose, f"train.output_dir={out}", step=step)
        train_run(quick_config(*RUN, *choose, f"train.output_dir={out}", "train.resume_from_checkpoint=true"))
        resumed = training_figures(out)
        assert (resumed["n_steps"], resumed["best_step"]) == (n_steps, figures["best_step"])
        assert same_weights(out, whole.output_dir)


def test_a_finished_run_is_not_trained_again(quick_config: MakeConfig, caplog: pytest.LogCaptureFixture) -> None:
    first = train_run(quick_config())
    before = (first.output_dir / "metrics.json").read_bytes()
    with caplog.at_level(logging.INFO):
        again = train_run(quick_config("train.resume_from_checkpoint=true"))
    assert "this run is finished" in caplog.text
    assert again.states == first.states
    assert (first.output_dir / "metrics.json").read_bytes() == before


@pytest.mark.parametrize(
    ("override", "expected"),
    [
        ("train.learning_rate=0.5", r"train\.learning_rate: 0\.01 there, 0\.5 here"),
        ("train.seed=7", r"train\.seed: .* there, 7 here"),
        ("lora.r=3", r"lora\.r: \d+ there, 3 here"),
        ("data.train_split=train[:5]", r"data\.train_split: 'train\[:6\]' there"),
        ("eval.max_new_tokens_eval=9", r"eval\.max_new_tokens_eval: 8 there, 9 here"),
    ],
)
def test_other_settings_are_refused_by_name(override: str, expected: str, quick_config: MakeConfig) -> None:
    folder = interrupted(quick_config, step=1)
    before = sorted(path for path in folder.rglob("*"))
    with pytest.raises(ConfigError, match=expected):
        train_run(quick_config(*RUN, "train.resume_from_checkpoint=true", override))
    assert sorted(path for path in folder.rglob("*")) == before


def test_changed_data_is_refused(quick_config: MakeConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    interrupted(quick_config, step=1)
    build = domain_datasets

    def other(domain: Any, cfg: Config) -> Any:
        bundle = build(domain, cfg)
        return replace(bundle, report=replace(bundle.report, fingerprint="another"))

    monkeypatch.setattr(train_module, "domain_datasets", other)
    with pytest.raises(DataError, match="the data has changed since the run"):
        train_run(quick_config(*RUN, "train.resume_from_checkpoint=true"))


@pytest.mark.parametrize(
    ("content", "value", "expected"),
    [
        ((), "true", "holds no run to go on with .there is no such folder"),
        (("photo.jpg",), "true", "holds no run to go on with .it holds photo.jpg"),
        ((), "{out}/checkpoint-5", "there is no folder .*/checkpoint-5; there is no folder"),
        (("checkpoint-3/a",), "{out}/checkpoint-5", "there is no folder .*/checkpoint-5; .* holds checkpoint-3"),
        (("checkpoint-5/a",), "{out}/checkpoint-5", "is no complete checkpoint"),
    ],
)
def test_a_resume_from_nothing_is_refused_at_once(
    content: tuple[str, ...], value: str, expected: str, quick_config: MakeConfig, tmp_path: Path
) -> None:
    out = tmp_path / "run"
    for name in content:
        (out / name).parent.mkdir(parents=True, exist_ok=True)
        (out / name).touch()
    with pytest.raises(OutputError, match=expected):
        train_run(quick_config(f"train.resume_from_checkpoint={value.format(out=out)}"))
    assert sorted(path.relative_to(out).as_posix() for path in out.rglob("*") if path.is_file()) == sorted(content)


def test_the_first_loss_that_is_not_finite_ends_the_run_and_names_its_rows(
    quick_config: MakeConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    compute_loss = RunTrainer.compute_loss
    seen = []

    def broken(trainer: RunTrainer, *args: Any, **kwargs: Any) -> Any:
        loss = compute_loss(trainer, *args, **kwargs)
        seen.append(trainer.state.global_step)
        return loss * float("nan") if trainer.state.global_step == 2 else loss

    monkeypatch.setattr(RunTrainer, "compute_loss", broken)
    cfg = quick_config(*RUN)
    with pytest.raises(TrainingError, match=r"step 3: the loss is nan; rows in the batch: train-\d+.*checkpoint-2"):
        train_run(cfg)
    assert seen[-1] == 2
    assert [path.name for path in checkpoints(RunLayout(cfg.output_dir).unfinished)] == ["checkpoint-2", "checkpoint-1"]


def test_gradients_that_are_not_finite_end_the_run_before_they_are_applied(
    quick_config: MakeConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("transformers.Trainer._get_grad_norm", lambda *args, **kwargs: torch.tensor(float("inf")))
    with pytest.raises(TrainingError, match="step 1: the norm of the gradients is inf"):
        train_run(quick_config(*RUN))
