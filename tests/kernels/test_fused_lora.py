"""Fused LoRA equals peft's in value and gradient, and leaves every other layer to peft."""

from typing import Any

import pytest
import torch
from peft import LoraConfig, PeftModel, get_peft_model
from peft.tuners.lora.layer import Linear
from torch import nn

from tests.support.quick import tiny_model
from trainer.kernels.fused_lora import fused_lora
from trainer.kernels.precision import bfloat16_autocast, let_autocast_choose

VOCABULARY = 50


def adapted(
    dtype: torch.dtype = torch.float32, *, targets: str = "all-linear", biased: bool = False, **options: Any
) -> Any:
    """A tiny model with an adapter whose weights are all random."""
    torch.manual_seed(0)
    config = LoraConfig(r=4, lora_alpha=12, target_modules=targets, task_type="CAUSAL_LM", **options)
    base: Any = tiny_model(VOCABULARY, attention_bias=biased, mlp_bias=biased)
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
        with bfloat16_autocast(autocast):
            logits = model(input_ids=ids).logits
        logits.float().logsumexp(-1).sum().backward()
    return logits.detach(), {n: p.grad.clone() for n, p in model.named_parameters() if p.grad is not None}


@pytest.mark.parametrize(
    "options", [{}, {"lora_dropout": 0.3}, {"use_rslora": True}, {"lora_bias": True, "biased": True}, {"biased": True}]
)
def test_output_and_gradients_are_those_of_peft(options: dict[str, Any]) -> None:
    model = adapted(**options)
    plain, fused = step(model, fused=False), step(model, fused=True)
    torch.testing.assert_close(fused, plain)
    assert len(fused[1]) >= 2 * sum(isinstance(module, Linear) for module in model.modules())
    assert all(gradient.any() for gradient in fused[1].values())


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


def test_gradient_checkpointing_gives_the_same() -> None:
    model = adapted()
    plain = step(model, fused=True)
    model.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
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
