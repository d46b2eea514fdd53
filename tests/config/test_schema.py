"""The configuration: what it accepts, and how it reports what it refuses."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from trainer.config import Config, as_config, config_to_yaml, load_config, parse_config
from trainer.config.training_keys import training_argument_types
from trainer.errors import ConfigError

MINIMAL: dict[str, Any] = {
    "data": {
        "load_module": "car_sales",
        "dataset_name": "d",
        "sysprompt_path": "s.md",
        "tools_path": "t.json",
    },
    "model": {"base_model_name": "m"},
}


def write(folder: Path, text: str) -> Path:
    path = folder / "run.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def failure(folder: Path, text: str, *overrides: str) -> str:
    with pytest.raises(ConfigError) as caught:
        load_config(write(folder, text), overrides)
    return str(caught.value)


def minimal_yaml(**sections: Any) -> str:
    return yaml.safe_dump({**MINIMAL, **sections})


def test_all_problems_are_reported_at_once_with_the_nearest_key(tmp_path: Path) -> None:
    data = {**MINIMAL["data"], "max_context_length": 0, "time_zone": "UTC"}
    message = failure(tmp_path, minimal_yaml(data=data, train={"learning_rat": 1}, lora={"dropout": 2}))
    assert "4 problems" in message
    assert "train.learning_rat" in message
    assert "did you mean learning_rate?" in message
    assert "got 0; must be greater than or equal to 1" in message
    assert "did you mean timezone?" in message
    assert "lora.dropout" in message


def test_an_unknown_section_and_a_missing_key_are_named(tmp_path: Path) -> None:
    message = failure(tmp_path, yaml.safe_dump({"data": MINIMAL["data"], "modell": {}}))
    assert "modell" in message
    assert "did you mean model?" in message
    assert "missing" in message


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("data: [", "not valid YAML"),
        ("", "is empty"),
        ("- a\n- b\n", "contains a list"),
        ("data: {}\ndata: {}\n", "occurs twice"),
    ],
)
def test_a_malformed_file_gets_one_clear_message(tmp_path: Path, text: str, expected: str) -> None:
    assert expected in failure(tmp_path, text)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"nowhere\.yaml: no such file"):
        load_config(tmp_path / "nowhere.yaml")


def test_every_key_of_the_installed_training_arguments_is_known() -> None:
    from dataclasses import fields

    from transformers import TrainingArguments

    assert {f.name for f in fields(TrainingArguments) if f.init} <= set(training_argument_types())


def test_numbers_in_scientific_notation_are_numbers(tmp_path: Path) -> None:
    cfg = load_config(write(tmp_path, minimal_yaml() + "train: {learning_rate: 2e-4}\n"))
    assert cfg.train["learning_rate"] == 2e-4


def test_a_revision_is_one_word_and_the_tokenizer_of_the_base_model_shares_it(tmp_path: Path) -> None:
    model = {"base_model_name": "owner/model", "revision": "v1"}
    assert parse_config({**MINIMAL, "model": model}, source="test").tokenizer_revision == "v1"
    for data, expected in (({"tokenizer": "owner/other"}, None), ({"tokenizer_revision": "v2"}, "v2")):
        cfg = parse_config({"data": {**MINIMAL["data"], **data}, "model": model}, source="test")
        assert cfg.tokenizer_revision == expected
    assert "model.revision" in failure(tmp_path, minimal_yaml(model={**model, "revision": "two words"}))


def test_an_unquoted_no_gets_a_hint(tmp_path: Path) -> None:
    assert 'write "no"' in failure(tmp_path, minimal_yaml() + "train: {eval_strategy: no}\n")


def test_run_is_merged_over_train(tmp_path: Path) -> None:
    text = minimal_yaml(train={"seed": 1, "max_steps": 5}, run={"seed": 2, "output_dir": "elsewhere"})
    cfg = load_config(write(tmp_path, text))
    assert (cfg.seed, cfg.train["max_steps"], cfg.output_dir) == (2, 5, Path("elsewhere"))


def test_overrides_are_parsed_as_yaml(tmp_path: Path) -> None:
    path = write(tmp_path, minimal_yaml())
    cfg = load_config(path, ["train.max_steps=7", "lora.target_modules=[q_proj]", "run.seed=3"])
    assert (cfg.train["max_steps"], cfg.lora.target_modules, cfg.seed) == (7, ["q_proj"], 3)


@pytest.mark.parametrize("override", ["max_steps=3", "train.max_steps", "=3", "train.=3", "train.seed=[1"])
def test_a_malformed_override_is_explained(tmp_path: Path, override: str) -> None:
    assert "--set" in failure(tmp_path, minimal_yaml(), override)


def test_keys_can_be_read_as_attributes_and_as_items() -> None:
    cfg = parse_config(MINIMAL, source="test")
    assert cfg["data"]["timezone"] == cfg.data.timezone == "UTC"
    with pytest.raises(KeyError):
        cfg["data"]["nothing"]


def test_a_plain_mapping_works_like_a_file() -> None:
    cfg = as_config(MINIMAL)
    assert isinstance(cfg, Config)
    assert as_config(cfg) is cfg


def test_the_resolved_configuration_can_be_loaded_again(tmp_path: Path) -> None:
    cfg = parse_config({**MINIMAL, "run": {"seed": 9}}, source="test")
    again = load_config(write(tmp_path, config_to_yaml(cfg)))
    assert again.train == cfg.train
    assert again.data == cfg.data
