"""Lean layers equal the layers that they replace, in value and in gradient, and keep less."""

from typing import Any

import pytest
import torch
from torch import nn
from transformers import CONFIG_MAPPING, AutoModelForCausalLM

import trainer.kernels.lean_layers as module
from trainer.kernels.lean_layers import find_lean_layers, gated, lean_layers, rms_norm

SIZES: dict[str, Any] = {
    "vocab_size": 50, "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4,
    "num_key_value_heads": 2, "head_dim": 8, "pad_token_id": 0,
}  # fmt: skip
N_REPLACED = {"llama": 7, "qwen3": 11, "gemma3_text": 15, "gemma2": 11, "granite": 7, "mistral": 7, "olmo2": 11}
"""Norms and MLPs of two layers, and the last norm."""


def make(family: str, dtype: torch.dtype = torch.float32) -> Any:
    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_config(CONFIG_MAPPING[family](**SIZES), dtype=dtype)
    for name, weight in model.named_parameters():
        weight.requires_grad_("embed" in name)
        if weight.dim() == 1:
            nn.init.normal_(weight, mean=1.0, std=0.3)
    return model.train()


def step(model: Any, layers: list[Any]) -> tuple[torch.Tensor, torch.Tensor]:
    with lean_layers(layers):
        logits = model(input_ids=torch.arange(1, 45).view(2, 22)).logits.float()
        embedding = model.get_input_embeddings().weight
        (gradient,) = torch.autograd.grad(logits.logsumexp(-1).sum() + logits.square().mean(), embedding)
    return logits.detach(), gradient


@pytest.fixture(params=[64, 2**17], ids=["few rows at once", "all rows at once"], autouse=True)
def _rows_at_once(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_N_AT_ONCE", request.param)


@pytest.mark.parametrize("family", N_REPLACED)
def test_a_model_with_lean_layers_computes_the_same(family: str) -> None:
    model = make(family)
    layers = find_lean_layers(model)
    assert len(layers) == N_REPLACED[family]
    for lean, plain in zip(step(model, layers), step(model, []), strict=True):
        assert (lean - plain).norm() <= 1e-5 * plain.norm()
    assert not any("forward" in vars(layer) for layer in model.modules())
    assert model.training


@pytest.mark.parametrize("family", ["llama", "gemma3_text"])
def test_rounding_errors_in_bfloat16_are_no_larger_than_those_of_the_layers(family: str) -> None:
    exact = step(make(family).float(), [])
    model = make(family, torch.bfloat16)
    plain, lean = step(model, []), step(model, find_lean_layers(model))
    for right, ours, theirs in zip(exact, lean, plain, strict=True):
        assert (ours.float() - right).norm() <= 1.1 * (theirs.float() - right).norm()


def test_a_layer_with_another_formula_is_left_alone() -> None:
    model = make("llama")
    norm = model.model.norm

    def other(x: torch.Tensor) -> Any:
        return x / x.norm(dim=-1, keepdim=True)

    norm.forward = other
    mlp = model.model.layers[0].mlp
    mlp.forward = lambda x: mlp.down_proj(mlp.act_fn(mlp.up_proj(x)) * mlp.gate_proj(x))
    assert {type(layer).__name__ for layer, _ in find_lean_layers(model) if layer in (norm, mlp)} == set()


def test_an_mlp_with_dropout_is_left_alone() -> None:
    config: Any = CONFIG_MAPPING["seed_oss"]
    model = AutoModelForCausalLM.from_config(config(**SIZES, residual_dropout=0.1))
    for weight in model.parameters():
        weight.requires_grad_(False)
    replaced = {type(layer).__name__ for layer, _ in find_lean_layers(model.train())}
    assert replaced == {"SeedOssRMSNorm"}


def test_a_forward_function_of_another_library_is_kept() -> None:
    model = make("llama")
    layers = find_lean_layers(model)
    norm = model.model.norm
    own = norm.forward = lambda x: x
    with lean_layers(layers):
        assert norm.forward is not own
    assert norm.forward is own


def test_trained_norms_are_left_alone() -> None:
    model = make("llama")
    model.model.norm.weight.requires_grad_()
    assert len(find_lean_layers(model)) == N_REPLACED["llama"] - 1


def test_the_backward_pass_keeps_the_inputs_only() -> None:
    x, gate, up = (torch.randn(40, 16, requires_grad=True) for _ in range(3))
    weight = torch.ones(16)
    kept: list[int] = []

    def note(tensor: torch.Tensor) -> torch.Tensor:
        kept.append(tensor.nbytes)
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
        rms_norm(x, weight, eps=1e-6)
        gated(gate, up, nn.functional.silu)
    assert sum(kept) == x.nbytes + weight.nbytes + 40 * 4 + gate.nbytes + up.nbytes
