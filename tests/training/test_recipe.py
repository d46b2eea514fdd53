"""The recipe chooses by data, model and hardware, leaves what is set by hand, and is written into the run."""

import json
import re
from collections.abc import Callable
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest
import torch
import yaml
from transformers import AutoConfig, AutoModelForCausalLM

from tests.support.quick import tiny_model
from trainer.config import Config, load_config
from trainer.config.schema import TRAIN_DEFAULTS
from trainer.data.domains import domain_datasets, load_domain
from trainer.data.report import SplitReport
from trainer.run_layout import RunLayout
from trainer.training.recipe import Facts, choices, with_choices
from trainer.training.recipe import facts as facts_module
from trainer.training.recipe import rules as module
from trainer.training.train import train_run

MakeConfig = Callable[..., Config]
SMALL = Facts(60, 150, n_held_out=6, n_parameters=135_000_000, n_layers=30, n_processes=1, on_gpu=False)
LARGE = Facts(5_000, 30_000, n_held_out=64, n_parameters=4_000_000_000, n_layers=36, n_processes=1, on_gpu=True)


def auto(make: MakeConfig, *overrides: str) -> Config:
    """A configuration whose recipe chooses everything that is not in `overrides`."""
    cfg = make("train.recipe=auto", *overrides)
    kept = {override.partition("=")[0].removeprefix("train.") for override in overrides}
    own = (*TRAIN_DEFAULTS, "seed", "recipe", *kept)
    train = {key: value for key, value in cfg.train.items() if key in own}
    return cfg.model_copy(update={"train": train, "lora": type(cfg.lora)()})


def chosen(cfg: Config, facts: Facts) -> dict[str, Any]:
    return {choice.key: choice.value for choice in choices(cfg, facts)}


def test_nothing_is_chosen_without_a_recipe(quick_config: MakeConfig) -> None:
    assert choices(quick_config(), SMALL) == []
    assert choices(quick_config("train.recipe=none"), SMALL) == []


def test_small_data_is_seen_more_often_and_a_large_model_learns_slowly(quick_config: MakeConfig) -> None:
    few, many = chosen(auto(quick_config), SMALL), chosen(auto(quick_config), LARGE)
    assert few["train.num_train_epochs"] > many["train.num_train_epochs"] == 1
    assert few["train.learning_rate"] > many["train.learning_rate"] == 2e-4
    rows = [c["train.per_device_train_batch_size"] * c["train.gradient_accumulation_steps"] for c in (few, many)]
    assert rows == [1, 16]
    several = chosen(auto(quick_config), replace(LARGE, n_processes=4))
    assert several["train.per_device_train_batch_size"] * several["train.gradient_accumulation_steps"] * 4 == 16


def test_sessions_of_many_turns_are_seen_less_often_although_they_are_few(quick_config: MakeConfig) -> None:
    epochs = [
        chosen(auto(quick_config), replace(SMALL, n_turns=n))["train.num_train_epochs"] for n in (150, 560, 1_200)
    ]
    assert epochs == [3, 2, 1]
    long = replace(SMALL, n_tokens=4_000)
    for facts, expected in ((long, 2), (replace(long, n_turns=560), 1), (replace(long, on_gpu=True), 3)):
        assert chosen(auto(quick_config), facts)["train.num_train_epochs"] == expected


@pytest.mark.parametrize(
    ("changes", "overrides", "expected"),
    [
        ({"n_tokens": 4_700, "n_shared": 2_800}, (), (1, 1)),
        ({"n_tokens": 4_700, "n_shared": 2_800, "n_sessions": 500, "n_turns": 3_000}, (), (2, 1)),
        ({"n_tokens": 4_700, "n_shared": 2_800, "n_sessions": 500, "n_turns": 3_000}, ("train.packing=false",), (1, 2)),
        ({"n_tokens": 4_700, "n_shared": 900}, (), (1, 1)),
        ({"n_tokens": 4_700, "n_shared": 2_800, "n_sessions": 900, "n_turns": 4_000}, (), (2, 2)),
        ({"n_tokens": 3_000, "n_shared": 2_000, "n_sessions": 900, "n_turns": 4_000}, (), (4, 1)),
        ({"n_tokens": 30_000, "n_shared": 20_000}, (), (1, 1)),
    ],
)
def test_a_cpu_takes_several_sessions_at_once_where_they_share_their_beginning(
    changes: dict[str, Any], overrides: tuple[str, ...], expected: tuple[int, int], quick_config: MakeConfig
) -> None:
    values = chosen(auto(quick_config, *overrides), replace(SMALL, **changes))
    keys = ("per_device_train_batch_size", "gradient_accumulation_steps")
    assert tuple(values[f"train.{key}"] for key in keys) == expected


def test_the_loss_is_logged_some_forty_times(quick_config: MakeConfig) -> None:
    for facts, expected in ((SMALL, 4), (replace(SMALL, n_sessions=5), 1), (LARGE, 7)):  # of 180, 15 and 312 steps
        assert chosen(auto(quick_config), facts)["train.logging_steps"] == expected
    assert chosen(auto(quick_config, "train.max_steps=80"), SMALL)["train.logging_steps"] == 2
    assert chosen(auto(quick_config, "train.max_steps=-1"), SMALL)["train.logging_steps"] == 4
    assert chosen(auto(quick_config, "train.gradient_accumulation_steps=4"), SMALL)["train.logging_steps"] == 1
    budget = auto(quick_config, "train.max_tokens_per_batch=2000")
    assert chosen(budget, replace(SMALL, n_tokens=1_000))["train.logging_steps"] == 2  # of 90
    evaluated = ("train.eval_strategy=steps", "train.eval_steps=5")
    assert "train.logging_steps" not in chosen(auto(quick_config, evaluated[0]), SMALL)  # it would also evaluate
    assert "train.logging_steps" in chosen(auto(quick_config, *evaluated), SMALL)
    for override in ("train.logging_steps=9", "train.logging_strategy=epoch"):
        assert "train.logging_steps" not in chosen(auto(quick_config, override), SMALL)


def test_only_a_cpu_leaves_the_lowest_layers_alone(quick_config: MakeConfig) -> None:
    for n_tokens, lowest, highest_left in ((1_000, 6, 5), (4_800, 15, 14)):
        names = chosen(auto(quick_config), replace(SMALL, n_tokens=n_tokens))["lora.target_modules"]
        assert re.fullmatch(names, f"model.layers.{lowest}.mlp.up_proj")
        assert not re.fullmatch(names, f"model.layers.{highest_left}.mlp.up_proj")
    for facts in (replace(SMALL, on_gpu=True), replace(SMALL, n_layers=4), replace(SMALL, n_layers=0)):
        assert "lora.target_modules" not in chosen(auto(quick_config), facts)


@pytest.mark.parametrize(("n_bytes", "chosen_"), [(80_000_000_000, False), (24_000_000_000, True), (0, False)])
def test_layers_are_computed_again_only_where_a_gpu_is_too_small(
    n_bytes: int, chosen_: bool, quick_config: MakeConfig
) -> None:
    facts = replace(LARGE, n_longest=2_000, n_bytes=n_bytes, n_weight_bytes=8 * 10**9, bytes_per_token=5_000_000)
    assert ("train.gradient_checkpointing" in chosen(auto(quick_config), facts)) is chosen_
    assert "train.gradient_checkpointing" not in chosen(auto(quick_config, "train.gradient_checkpointing=false"), facts)
    budget = chosen(auto(quick_config, "train.max_tokens_per_batch=8000"), facts)
    assert ("train.gradient_checkpointing" in budget) is chosen_


def test_the_memory_of_a_step_follows_the_longest_session_and_the_precision(
    quick_config: MakeConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[Facts] = []

    def note(_: Config, facts: Facts) -> list[Any]:
        seen.append(facts)
        return []

    cfg = auto(quick_config, "model.torch_dtype=bfloat16")
    bundle = domain_datasets(load_domain(cfg), cfg)
    monkeypatch.setattr(module, "choices", note)
    monkeypatch.setattr(facts_module, "device_bytes", lambda device: 123)
    gpu = SimpleNamespace(device=torch.device("cuda"), world_size=1)
    module.settled(cfg, bundle, tiny_model(50).config, gpu)
    (facts,) = seen
    assert facts.n_longest == max(len(row["input_ids"]) for row in bundle.train_dataset)
    assert (facts.n_bytes, facts.n_weight_bytes) == (123, 2 * facts.n_parameters)
    assert 1_000 < facts.bytes_per_token < 100_000


def test_what_is_set_by_hand_stays(quick_config: MakeConfig) -> None:
    cfg = auto(quick_config, "train.learning_rate=0.5", "train.eval_strategy=steps")
    values = chosen(cfg, SMALL)
    assert "train.learning_rate" not in values
    assert not [key for key in values if "strategy" in key or "best" in key]
    assert with_choices(cfg, choices(cfg, SMALL)).train["learning_rate"] == 0.5
    assert "train.warmup_ratio" not in chosen(auto(quick_config, "train.warmup_steps=3"), SMALL)
    by_hand = cfg.model_copy(update={"lora": type(cfg.lora)(r=3)})
    assert chosen(by_hand, SMALL)["lora.alpha"] == 6
    assert with_choices(by_hand, choices(by_hand, SMALL)).lora.r == 3


def test_a_checkpoint_is_chosen_only_if_there_are_several_and_sessions_to_judge_them(quick_config: MakeConfig) -> None:
    assert chosen(auto(quick_config), SMALL)["train.load_best_model_at_end"] is True
    for cfg, facts in (
        (auto(quick_config, "train.num_train_epochs=1"), SMALL),
        (auto(quick_config), LARGE),
        (auto(quick_config), replace(SMALL, n_held_out=0)),
    ):
        assert "train.load_best_model_at_end" not in chosen(cfg, facts)
    assert "train.load_best_model_at_end" in chosen(auto(quick_config, "train.num_train_epochs=5"), LARGE)


def test_every_choice_says_why(quick_config: MakeConfig) -> None:
    for facts in (SMALL, LARGE):
        assert all(choice.reason for choice in choices(auto(quick_config), facts))


@pytest.mark.parametrize("n_layers", [3, 12])
def test_layers_are_counted_by_their_names(n_layers: int, tokenizer: Any) -> None:
    rows = SplitReport(5, 7, 100, 10, 0, {}, dropped_oversized=False)
    model = tiny_model(50, num_hidden_layers=n_layers)
    arguments = SimpleNamespace(device=torch.device("cpu"), world_size=2)
    facts = Facts.of(rows, 1, model, arguments)
    names = ("down_proj", "gate_proj", "k_proj", "o_proj", "q_proj", "up_proj", "v_proj")
    expected = Facts(5, 30, 1, facts.n_parameters, n_layers, n_processes=2, on_gpu=False, n_tokens=14, linear=names)
    assert facts == expected
    assert facts.n_parameters == sum(weight.numel() for weight in model.parameters())
    assert Facts.of(rows, 1, None, arguments).n_parameters == 0


@pytest.mark.parametrize(
    ("family", "changes"), [("llama", {}), ("lfm2", {"layer_types": ["conv", "full_attention"] * 4}), ("phi", {})]
)
def test_all_linear_modules_of_the_upper_layers_are_adapted(
    family: str, changes: dict[str, Any], quick_config: MakeConfig
) -> None:
    sizes = {"hidden_size": 32, "intermediate_size": 64, "num_attention_heads": 4, "vocab_size": 50, "pad_token_id": 0}
    config = AutoConfig.for_model(family, num_hidden_layers=8, **sizes, **changes)
    model = AutoModelForCausalLM.from_config(config)
    rows = SplitReport(5, 7, 100, 10, 0, {}, dropped_oversized=False)
    facts = Facts.of(rows, 1, model, SimpleNamespace(device=torch.device("cpu"), world_size=1))
    pattern = chosen(auto(quick_config), facts)["lora.target_modules"]
    upper = {
        name
        for name, part in model.named_modules()
        if isinstance(part, torch.nn.Linear) and (found := re.search(r"layers\.(\d+)", name)) and int(found[1]) >= 1
    }
    assert upper == {name for name, _ in model.named_modules() if re.fullmatch(pattern, name)}
    assert len(upper) >= 4 * 4


def test_a_run_writes_what_was_chosen_and_runs_again_from_it(
    quick_config: MakeConfig, caplog: pytest.LogCaptureFixture
) -> None:
    cfg = auto(quick_config, "train.num_train_epochs=1", "train.save_strategy=steps", "train.save_steps=1")
    with caplog.at_level("INFO"):
        folder = train_run(cfg).output_dir
    assert "recipe: train.learning_rate 0.003 (" in caplog.text
    written = yaml.safe_load(RunLayout(folder).config.read_text(encoding="utf-8"))
    assert written["train"]["learning_rate"] == 0.003
    assert written["train"]["loss_weighting"] == "decision"
    assert written["lora"]["alpha"] == 2 * written["lora"]["r"]
    assert written["data"]["selection_share"] == 0.0  # too few sessions
    again = cfg.model_copy(update={"train": {**cfg.train, "resume_from_checkpoint": True}})
    assert train_run(again).output_dir == folder  # finished, and not another run


def test_a_run_with_a_recipe_holds_sessions_out_goes_on_and_runs_again_from_its_record(
    quick_config: MakeConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("trainer.data.held_out.sessions._FEWEST_FOR_AUTO", 10)
    cfg = auto(quick_config, "data.train_split=train[:12]", "train.num_train_epochs=2")
    files = RunLayout(train_run(cfg).output_dir)
    metrics = json.loads(files.metrics.read_text(encoding="utf-8"))
    assert metrics["data"]["selection"]["n_sessions"] == 5
    assert "best_step" in metrics["train"]
    assert metrics["calibration"]["n_sessions"] == 5
    recorded = load_config(files.config)
    assert recorded.data.selection_share == pytest.approx(5 / 12)
    elsewhere = {**recorded.train, "output_dir": f"{recorded.output_dir}-again"}
    repeated = train_run(recorded.model_copy(update={"train": elsewhere}))
    again = json.loads(RunLayout(repeated.output_dir).metrics.read_text(encoding="utf-8"))
    assert again["data"] == metrics["data"]
    assert again["final"]["turn_exact"] == metrics["final"]["turn_exact"]
    assert again["train"]["loss"] == metrics["train"]["loss"]
