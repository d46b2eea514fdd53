"""An adapter with weights that vLLM would not find is refused, and the merged model that is offered fits its class."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import serve as serve_script
import torch
from peft import LoraConfig, get_peft_model
from safetensors.torch import load_file, save_file
from transformers import (
    AutoModelForCausalLM,
    MixtralConfig,
    PreTrainedModel,
    Qwen3_5Config,
    Qwen3_5ForConditionalGeneration,
    Qwen3MoeConfig,
)

from tests.support.quick import QUICKSTART, quick_overrides, tiny_model
from trainer.config import load_config
from trainer.errors import ModelError, OutputError
from trainer.serving.merge import merge
from trainer.serving.served_class import adapted_modules, refuse_other_class
from trainer.training.finished_run import FinishedRun

SMALL = {
    "vocab_size": 64, "hidden_size": 32, "intermediate_size": 32, "num_hidden_layers": 2,
    "num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 16,
}  # fmt: skip


def wrapper() -> PreTrainedModel:
    """Return a model that takes images, of which training loads the text part."""
    config = Qwen3_5Config()
    text = {**SMALL, "layer_types": ["linear_attention", "full_attention"], "linear_num_key_heads": 2}
    text |= {"linear_num_value_heads": 4, "linear_key_head_dim": 16, "linear_value_head_dim": 16}
    vision = {"depth": 1, "hidden_size": 32, "intermediate_size": 32, "num_heads": 2, "out_hidden_size": 32}
    for part, values in ((config.text_config, text), (config.vision_config, vision)):
        for key, value in values.items():
            setattr(part, key, value)
    return Qwen3_5ForConditionalGeneration(config)


def mixture(kind: Any) -> PreTrainedModel:
    sizes = {"num_local_experts": 4} if kind is MixtralConfig else {"num_experts": 4, "moe_intermediate_size": 16}
    model: PreTrainedModel = AutoModelForCausalLM.from_config(kind(**SMALL, **sizes))
    return model


MODELS: dict[str, Callable[[], PreTrainedModel]] = {
    "text": lambda: tiny_model(64),
    "wrapper": wrapper,
    "qwen3_moe": lambda: mixture(Qwen3MoeConfig),
    "mixtral": lambda: mixture(MixtralConfig),
}


def run_of(base: PreTrainedModel, folder: Path, targets: Any = "all-linear") -> FinishedRun:
    """Return a run whose adapter was made as training makes it, from the saved base model."""
    base.save_pretrained(folder / "base")
    trained = AutoModelForCausalLM.from_pretrained(folder / "base", dtype=torch.float32)
    adapter = get_peft_model(trained, LoraConfig(target_modules=targets, task_type="CAUSAL_LM"))
    adapter.save_pretrained(str(folder / "run"))
    cfg = load_config(QUICKSTART, quick_overrides(folder / "base", folder / "run"))
    return FinishedRun(folder / "run", cfg, json.loads((folder / "run" / "adapter_config.json").read_text()))


def test_an_adapter_of_a_text_model_is_served(tmp_path: Path) -> None:
    run = run_of(tiny_model(64), tmp_path)
    assert "model.layers.1.self_attn.q_proj" in adapted_modules(run)
    refuse_other_class(run)


def test_a_text_part_of_a_wrapper_is_refused_and_both_classes_are_named(tmp_path: Path) -> None:
    run = run_of(wrapper(), tmp_path)
    with pytest.raises(ModelError, match=r"trained on a Qwen3_5ForCausalLM.*as Qwen3_5ForConditionalGeneration.*merge"):
        refuse_other_class(run)


def test_the_same_wrapper_with_the_names_that_vllm_expects_is_served(tmp_path: Path) -> None:
    run = run_of(wrapper(), tmp_path)
    path = run.path / "adapter_model.safetensors"
    renamed = {key.replace(".layers.", ".language_model.layers."): tensor for key, tensor in load_file(path).items()}
    save_file(renamed, path)
    refuse_other_class(run)


@pytest.mark.parametrize("name", ["qwen3_moe", "mixtral"])
def test_experts_are_refused_and_the_attention_of_the_same_model_is_served(name: str, tmp_path: Path) -> None:
    run = run_of(MODELS[name](), tmp_path / "all")
    assert any(module.endswith(".experts") for module in adapted_modules(run))
    with pytest.raises(ModelError, match=r"all the experts of a layer.*tool-sft merge.*--merged"):
        refuse_other_class(run)
    refuse_other_class(run_of(MODELS[name](), tmp_path / "attention", ["q_proj", "o_proj"]))


@pytest.mark.parametrize("name", MODELS)
def test_the_merged_model_names_the_class_that_its_weights_belong_to(name: str, tmp_path: Path) -> None:
    run_of(MODELS[name](), tmp_path)
    base = AutoModelForCausalLM.from_pretrained(tmp_path / "base", dtype=torch.float32)
    kind = type(base).__name__
    merged = merge(get_peft_model(base, LoraConfig(target_modules=["q_proj"], task_type="CAUSAL_LM")))
    merged.save_pretrained(tmp_path / "merged")
    config = json.loads((tmp_path / "merged" / "config.json").read_text())
    assert config["architectures"] == [kind]
    again = AutoModelForCausalLM.from_pretrained(tmp_path / "merged", dtype=torch.float32)
    assert type(again).__name__ == kind


@pytest.mark.parametrize("architecture", ["LlavaForConditionalGeneration", "GPT2LMHeadModel"])
def test_a_config_that_names_a_class_with_other_modules_is_refused(architecture: str, tmp_path: Path) -> None:
    run = run_of(tiny_model(64), tmp_path)
    edit_config(tmp_path / "base", architectures=[architecture])
    with pytest.raises(
        ModelError, match=f"LlamaForCausalLM and has weights for model.*loads the base model as {architecture}"
    ):
        refuse_other_class(run)


@pytest.mark.parametrize("architectures", [None, [], ["SomethingNewForCausalLM"], ["AutoModel"]])
def test_what_is_not_known_is_not_refused(architectures: Any, tmp_path: Path) -> None:
    run = run_of(tiny_model(64), tmp_path)
    edit_config(tmp_path / "base", architectures=architectures)
    refuse_other_class(run)


def test_damaged_weights_are_one_message(tmp_path: Path) -> None:
    run = run_of(tiny_model(64), tmp_path)
    (run.path / "adapter_model.safetensors").write_bytes(b"no weights")
    with pytest.raises(OutputError, match="adapter's weights cannot be read"):
        refuse_other_class(run)


def test_serve_refuses_before_it_starts_anything(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    run = run_of(wrapper(), tmp_path)
    monkeypatch.setattr("trainer.training.finished_run.read_run", lambda path, **options: run)
    assert serve_script.main(["--run", str(run.path), "--print"]) == 2
    assert "would answer as if these weights were not there" in capsys.readouterr().err


def edit_config(folder: Path, **changes: Any) -> None:
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))
