"""Fused LoRA equals peft's in value and gradient, with the same dropout, and leaves every other layer to peft."""

from typing import Any

import pytest
import torch
from peft import LoraConfig, PeftModel, get_peft_model
from peft.tuners.lora.layer import Linear
from torch import nn
from transformers import CONFIG_MAPPING, AutoModelForCausalLM

from tests.support.quick import tiny_model
from trainer.kernels.dropout_mask import DropoutMask
from trainer.kernels.fused_lora import fused_lora
from trainer.kernels.precision import bfloat16_autocast, let_autocast_choose

VOCABULARY = 50
FAMILIES = ["llama", "qwen3", "gemma3_text", "gemma2", "granite", "mistral"]


class PlainDropout(nn.Module):
    """Dropout with the masks of fused LoRA, kept by autograd."""

    def __init__(self, probability: float) -> None:
        super().__init__()
        self.probability = probability

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        mask = DropoutMask.draw(self.probability)
        return x * mask.apply(torch.ones_like(x))[0] * mask.scale


def model_of(family: str, **options: Any) -> Any:
    """A model of two layers; `options` are those of its configuration."""
    sizes = {
        "vocab_size": VOCABULARY, "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2,
        "num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 8, "pad_token_id": 0,
    }  # fmt: skip
    config: Any = CONFIG_MAPPING[family]
    return AutoModelForCausalLM.from_config(config(**sizes, **options))


def adapted(
    dtype: torch.dtype = torch.float32,
    *,
    targets: str = "all-linear",
    biased: bool = False,
    family: str | None = None,
    **options: Any,
) -> Any:
    """A tiny model with an adapter whose weights are all random."""
    torch.manual_seed(0)
    config = LoraConfig(r=4, lora_alpha=12, target_modules=targets, task_type="CAUSAL_LM", **options)
    base: Any = model_of(family) if family else tiny_model(VOCABULARY, attention_bias=biased, mlp_bias=biased)
    model = get_peft_model(base.to(dtype), config)
    assert isinstance(model, PeftModel)
    for name, parameter in model.named_parameters():
        if "lora_B" in name:
            nn.init.normal_(parameter, std=0.1)
    return model.train()


def step(model: Any, *, fused: bool, autocast: bool = False) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
    """The logits of a step and the gradients of the adapter."""
    ids = torch.arange(1, 23).view(2, 11)
    model.zero_grad()
    torch.manual_seed(1)
    with fused_lora(model, active=fused):
        with bfloat16_autocast(model, active=autocast):
            logits = model(input_ids=ids).logits
        logits.float().logsumexp(-1).sum().backward()
    return logits.detach(), {n: p.grad.clone() for n, p in model.named_parameters() if p.grad is not None}


@pytest.mark.parametrize("options", [{}, {"use_rslora": True}, {"lora_bias": True, "biased": True}, {"biased": True}])
def test_output_and_gradients_are_those_of_peft(options: dict[str, Any]) -> None:
    model = adapted(**options)
    plain, fused = step(model, fused=False), step(model, fused=True)
    torch.testing.assert_close(fused, plain)
    assert len(fused[1]) >= 2 * sum(isinstance(module, Linear) for module in model.modules())
    assert all(gradient.any() for gradient in fused[1].values())


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("dropout", [0.05, 0.3])
def test_with_the_same_dropout_masks_loss_and_gradients_are_those_of_peft(family: str, dropout: float) -> None:
    model = adapted(family=family, lora_dropout=dropout)
    fused = step(model, fused=True)
    model.eval()
    without, _ = step(model, fused=True)
    model.train()
    for layer in (module for module in model.modules() if isinstance(module, Linear)):
        layer.lora_dropout["default"] = PlainDropout(dropout)
    plain = step(model, fused=False)
    torch.testing.assert_close(fused[0].logsumexp(-1).sum(), plain[0].logsumexp(-1).sum(), rtol=1e-5, atol=0.0)
    assert fused[1].keys() == plain[1].keys()
    for name, gradient in plain[1].items():
        assert (fused[1][name] - gradient).norm() <= 1e-5 * gradient.norm()
    assert not torch.allclose(fused[0], without)


def test_dropout_keeps_nothing_for_the_backward_pass() -> None:
    """With and without dropout, autograd saves tensors of the same shapes, in as many places."""
    shapes, n_places = [], []
    for dropout in (0.0, 0.3):
        model = adapted(lora_dropout=dropout)
        kept: list[torch.Tensor] = []

        def note(tensor: torch.Tensor, kept: list[torch.Tensor] = kept) -> torch.Tensor:
            kept.append(tensor)
            return tensor

        with fused_lora(model, active=True), torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
            model(input_ids=torch.arange(1, 23).view(2, 11))
        shapes.append(sorted(tensor.shape for tensor in kept))
        n_places.append(len({tensor.data_ptr() for tensor in kept}))
    assert shapes[0] == shapes[1]
    assert n_places[0] == n_places[1]


def test_under_autocast_the_rounding_errors_are_no_larger_than_those_of_peft() -> None:
    exact_logits, exact_gradients = step(adapted(), fused=False)
    model = adapted(torch.bfloat16)
    for name, parameter in model.named_parameters():
        parameter.data = parameter.data.float() if "lora_" in name else parameter.data
    let_autocast_choose(model)
    errors = {}
    for fused in (True, False):
        logits, gradients = step(model, fused=fused, autocast=True)
        distances = torch.stack([(gradients[n] - exact_gradients[n]).norm() for n in exact_gradients])
        errors[fused] = torch.stack([(logits.float() - exact_logits).norm(), distances.norm()])
    assert (errors[True] <= 1.1 * errors[False]).all()


def test_a_second_active_adapter_adds_its_product() -> None:
    model = adapted()
    torch.manual_seed(2)
    model.add_adapter("second", model.peft_config["default"])
    for name, parameter in model.named_parameters():
        if "lora_B.second" in name:
            nn.init.normal_(parameter, std=0.1)
    alone, _ = step(model, fused=True)
    model.base_model.set_adapter(["default", "second"])
    plain, fused = step(model, fused=False), step(model, fused=True)
    torch.testing.assert_close(fused, plain)
    assert not torch.allclose(fused[0], alone)


def test_layers_below_the_first_adapted_one_need_no_gradient() -> None:
    model = adapted(targets=r".*\.layers\.1\..*_proj")
    plain, fused = step(model, fused=False), step(model, fused=True)
    torch.testing.assert_close(fused, plain)


@pytest.mark.parametrize("reentrant", [False, True])
def test_gradient_checkpointing_gives_the_same(reentrant: bool) -> None:
    model = adapted(lora_dropout=0.3)
    model.enable_input_require_grads()
    plain = step(model, fused=True)
    model.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": reentrant})
    torch.testing.assert_close(step(model, fused=True), plain)


def test_the_layers_are_restored_even_after_an_error() -> None:
    model = adapted()
    layers = [layer for layer in model.modules() if isinstance(layer, Linear)]
    with pytest.raises(ZeroDivisionError), fused_lora(model, active=True):
        1 / sum(not layer.lora_variant for layer in layers)  # every layer has a variant, so this divides by zero
    assert not any(layer.lora_variant for layer in layers)


def test_lora_variants_and_a_disabled_adapter_are_unchanged() -> None:
    model = adapted(use_dora=True)
    layers = [layer for layer in model.modules() if type(layer) is Linear]
    variants = [layer.lora_variant["default"] for layer in layers]
    with fused_lora(model, active=True):
        assert [layer.lora_variant["default"] for layer in layers] == variants
    model = adapted()
    ids = torch.arange(1, 12)[None]
    with model.disable_adapter(), fused_lora(model, active=True):
        disabled = model(input_ids=ids).logits
    torch.testing.assert_close(disabled, tiny_base_logits(model, ids))


def tiny_base_logits(model: Any, ids: torch.Tensor) -> torch.Tensor:
    with model.disable_adapter():
        logits = model(input_ids=ids).logits
    assert isinstance(logits, torch.Tensor)
    return logits
