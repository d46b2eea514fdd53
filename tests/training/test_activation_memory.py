"""The memory of a step, estimated without weights, is what a real step keeps."""

from typing import Any

import pytest
import torch
from transformers import AutoConfig, AutoModelForCausalLM

from trainer.training.recipe.activation_memory import saved_bytes_per_token

SIZES = {
    "hidden_size": 128, "intermediate_size": 512, "num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 32,
    "vocab_size": 64, "pad_token_id": 0,
}  # fmt: skip


def empty(family: str, n_layers: int) -> Any:
    config = AutoConfig.for_model(family, num_hidden_layers=n_layers, **SIZES)
    with torch.device("meta"):
        return AutoModelForCausalLM.from_config(config, dtype=torch.bfloat16)


@pytest.mark.parametrize("family", ["llama", "qwen3", "gemma3_text", "granite", "mistral"])
def test_the_estimate_is_what_a_real_step_saves(family: str) -> None:
    model = empty(family, 4)
    estimate = saved_bytes_per_token(model)
    real = model.to_empty(device="cpu").train()
    weights = {weight.data_ptr() for weight in real.parameters()}
    saved: dict[int, torch.Tensor] = {}

    def count(tensor: torch.Tensor) -> torch.Tensor:
        if tensor.untyped_storage().data_ptr() not in weights:
            saved.setdefault(tensor.untyped_storage().data_ptr(), tensor)
        return tensor

    n_tokens = 200
    with torch.autograd.graph.saved_tensors_hooks(count, lambda tensor: tensor):
        real(input_ids=torch.zeros(1, n_tokens, dtype=torch.int64), use_cache=False, logits_to_keep=1)
    measured = sum(tensor.untyped_storage().nbytes() for tensor in saved.values()) / n_tokens
    assert 0.8 * measured < estimate < 1.25 * measured


def test_twice_the_layers_save_twice_as_much() -> None:
    few, many = (saved_bytes_per_token(empty("llama", n)) for n in (2, 4))
    assert 1.9 < many / few < 2.1


def test_a_model_that_needs_numbers_gives_no_figure() -> None:
    model = empty("llama", 1)
    model.register_forward_pre_hook(lambda _, __, inputs: inputs["input_ids"].sum().item(), with_kwargs=True)
    assert saved_bytes_per_token(model) == 0
