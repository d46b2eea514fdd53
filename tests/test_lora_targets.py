"""Adapters are in the language model only, whatever else the model has."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
import torch
from peft import PeftModel
from transformers import AutoConfig, AutoModelForCausalLM, PreTrainedModel

from tests.kernels.test_packed_attention import RECURRENT, SIZES
from tests.support.quick import ROOT, tiny_model
from tests.support.tiny_families import tiny_gemma3, tiny_llava, tiny_phi4, tiny_qwen3
from trainer.config import load_config
from trainer.config.schema import LoraConfig
from trainer.errors import ModelError
from trainer.lora_model import add_lora
from trainer.lora_targets import excluded_modules, other_parts

GEMMA_TARGETS = load_config(ROOT / "configs" / "car_sales" / "gemma-3-4b.yaml").lora.target_modules


def adapted(model: PeftModel) -> set[str]:
    """Return the names of the modules with an adapter."""
    names = {name.partition(".lora_")[0] for name, _ in model.named_parameters() if ".lora_" in name}
    return {name.removeprefix("base_model.model.") for name in names}


@pytest.mark.parametrize("targets", [GEMMA_TARGETS, "all-linear", r".*_proj", r".*layers\.\d+\..*_proj"], ids=str)
@pytest.mark.parametrize("make", [tiny_gemma3, tiny_llava])
def test_an_adapter_stays_out_of_the_vision_tower(
    make: Callable[[int], PreTrainedModel], targets: Sequence[str] | str, tmp_path: Path
) -> None:
    lora = LoraConfig(r=2, target_modules=targets if isinstance(targets, str) else list(targets))
    model = add_lora(make(50), lora)
    names = adapted(model)
    assert len(names) == 2 * 7
    assert all(name.startswith("model.language_model.layers.") for name in names)
    model.save_pretrained(str(tmp_path))
    again = PeftModel.from_pretrained(make(50), str(tmp_path))
    assert adapted(again) == names
    assert json.loads((tmp_path / "adapter_config.json").read_text(encoding="utf-8"))["exclude_modules"]


def test_the_adapter_that_was_saved_is_the_one_that_loads(tmp_path: Path) -> None:
    model = add_lora(tiny_gemma3(50), LoraConfig(r=2, target_modules=list(GEMMA_TARGETS)))
    torch.manual_seed(1)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "lora_B" in name:
                parameter.normal_()
    model.save_pretrained(str(tmp_path))
    again = PeftModel.from_pretrained(tiny_gemma3(50), str(tmp_path))
    ids = torch.tensor([[3, 4, 5]])
    torch.testing.assert_close(again(input_ids=ids).logits, model(input_ids=ids).logits)


@pytest.mark.parametrize(
    ("make", "parts"),
    [
        (tiny_gemma3, ["model.vision_tower", "model.multi_modal_projector"]),
        (tiny_llava, ["model.vision_tower", "model.multi_modal_projector"]),
        (tiny_phi4, ["model.embed_tokens_extend"]),
        (tiny_qwen3, []),
        (tiny_model, []),
    ],
)
def test_other_parts_are_found_by_their_configuration(make: Callable[[int], PreTrainedModel], parts: list[str]) -> None:
    assert other_parts(make(50)) == parts


@pytest.mark.parametrize("targets", ["all-linear", r".*\.layers\.\d+\..*_proj"])
def test_modules_of_mamba_layers_whose_adapter_peft_refuses_are_left_out(targets: str) -> None:
    config = AutoConfig.for_model("falcon_h1", **SIZES, **RECURRENT["falcon_h1"])
    model = add_lora(AutoModelForCausalLM.from_config(config), LoraConfig(r=2, target_modules=targets))
    names = {name.rpartition(".")[2] for name in adapted(model)}
    assert {"in_proj", "q_proj", "down_proj"} <= names
    assert not {"out_proj", "conv1d"} & names
    model(input_ids=torch.arange(5)[None]).logits.sum().backward()
    assert all(weight.grad is not None for name, weight in model.named_parameters() if "lora_" in name)
    with pytest.raises(ModelError, match="incompatible with Mamba"):
        add_lora(AutoModelForCausalLM.from_config(config), LoraConfig(r=2, target_modules=r".*\.(in_proj|out_proj)"))


def test_a_target_that_exists_only_in_the_vision_tower_is_refused() -> None:
    with pytest.raises(ModelError, match=r"no module outside model\.vision_tower.* is named fc1; linear modules"):
        add_lora(tiny_gemma3(50), LoraConfig(r=2, target_modules=["q_proj", "fc1"]))


def test_nothing_is_excluded_if_no_target_is_outside_the_language_model() -> None:
    targets = r".*language_model\..*_proj"
    assert excluded_modules(tiny_gemma3(50), targets) is None
    assert len(adapted(add_lora(tiny_gemma3(50), LoraConfig(r=2, target_modules=targets)))) == 2 * 7


def test_the_output_layer_may_be_a_target_of_a_model_with_a_vision_tower() -> None:
    assert adapted(add_lora(tiny_llava(50), LoraConfig(r=2, target_modules=["lm_head"]))) == {"lm_head"}


@pytest.mark.parametrize(
    ("targets", "reason"),
    [
        (["mlp"], "LlamaMLP is not supported"),
        (["input_layernorm"], "RMSNorm.* is not supported"),
        (".*", "is not supported"),
        ([], "No `target_modules` passed"),
    ],
)
def test_what_peft_refuses_is_one_message_with_a_remedy(targets: list[str] | str, reason: str) -> None:
    with pytest.raises(ModelError, match=rf"^lora: .*{reason}[^\n]*; use names of linear modules or all-linear in"):
        add_lora(tiny_model(50), LoraConfig(r=2, target_modules=targets))
