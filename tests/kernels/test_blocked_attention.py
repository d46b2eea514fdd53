"""Blocked attention equals torch's kernel, forward and backward, and is used only where it applies."""

from typing import Any

import pytest
import torch
from torch.nn import functional
from transformers import PreTrainedModel

import trainer.kernels.blocked_attention as module
from tests.support.decoding_models import falcon_model
from tests.support.quick import tiny_model
from trainer.evaluation import row_losses
from trainer.generation.settings import DecodeSettings
from trainer.generation.teacher_forcing import decode_turns
from trainer.kernels.blocked_attention import attend_in_blocks, blocked_attention
from trainer.types import ToolEvalExample


def tensors(n_tokens: int, *, dtype: torch.dtype, batch: int = 2) -> tuple[torch.Tensor, ...]:
    """Query [batch, 6, tokens, 8], key and value [batch, 2, tokens, 8], and a gradient of the query's shape."""
    torch.manual_seed(n_tokens)
    heads = (6, 2, 2, 6)
    return tuple(torch.randn(batch, n, n_tokens, 8, dtype=dtype).requires_grad_(n_h < 3) for n_h, n in enumerate(heads))


@pytest.mark.parametrize("n_tokens", [1, 127, 128, 129, 300])
@pytest.mark.parametrize("scale", [None, 0.3])
def test_output_and_gradients_are_those_of_the_kernel(n_tokens: int, scale: float | None) -> None:
    query, key, value, grad = tensors(n_tokens, dtype=torch.float64)
    expected = functional.scaled_dot_product_attention(query, key, value, is_causal=True, enable_gqa=True, scale=scale)
    wanted = torch.autograd.grad(expected, (query, key, value), grad)
    output = blocked_attention(query, key, value, scale=scale)
    torch.testing.assert_close(output, expected)
    got = torch.autograd.grad(output, (query, key, value), grad)
    for found, want in zip(got, wanted, strict=True):
        torch.testing.assert_close(found, want)


@pytest.mark.parametrize("n_queries", [1, 130])
def test_with_a_mask_of_pairs_they_are_those_of_the_kernel_as_well(n_queries: int) -> None:
    query, key, value, grad = tensors(300, dtype=torch.float64)
    query, grad = query[:, :, -n_queries:].detach().requires_grad_(), grad[:, :, -n_queries:]
    visible = torch.rand(n_queries, 300, generator=torch.Generator().manual_seed(0)) < 0.5
    expected = functional.scaled_dot_product_attention(query, key, value, attn_mask=visible, enable_gqa=True)
    wanted = torch.autograd.grad(expected, (query, key, value), grad)
    output = blocked_attention(query, key, value, visible=visible)
    torch.testing.assert_close(output, expected)
    got = torch.autograd.grad(output, (query, key, value), grad)
    for found, want in zip(got, wanted, strict=True):
        torch.testing.assert_close(found, want)


def test_gradients_in_bfloat16_stay_close_to_the_true_ones() -> None:
    query, key, value, grad = tensors(400, dtype=torch.float64)
    wanted = torch.autograd.grad(blocked_attention(query, key, value), (query, key, value), grad)
    low = [x.detach().bfloat16().requires_grad_() for x in (query, key, value)]
    got = torch.autograd.grad(blocked_attention(*low), low, grad.bfloat16())
    for found, want in zip(got, wanted, strict=True):
        assert (found.double() - want).norm() / want.norm() < 0.02


def model_in(dtype: torch.dtype) -> PreTrainedModel:
    model = tiny_model(64)
    return model.bfloat16() if dtype == torch.bfloat16 else model


@pytest.mark.parametrize(
    ("dtype", "padded", "used"),
    [(torch.bfloat16, False, True), (torch.float32, False, False), (torch.bfloat16, True, False)],
)
def test_only_unpadded_bfloat16_passes_use_blocks(
    dtype: torch.dtype, padded: bool, used: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = []

    def spy(*args: Any, **options: Any) -> torch.Tensor:
        calls.append(args)
        return blocked_attention(*args, **options)

    monkeypatch.setattr(module, "blocked_attention", spy)
    model = model_in(dtype)
    ids = torch.arange(40).reshape(2, 20)
    mask = torch.ones_like(ids)
    if padded:
        mask[1, 15:] = 0
    expected = model(input_ids=ids, attention_mask=mask).logits
    with attend_in_blocks(model):
        found = model(input_ids=ids, attention_mask=mask).logits
    assert bool(calls) == used
    torch.testing.assert_close(found[mask.bool()], expected[mask.bool()], atol=0.05 if used else 0.0, rtol=0.0)
    assert model.config._attn_implementation == "sdpa"


def test_a_model_that_checks_the_names_of_implementations_is_unchanged() -> None:
    model = falcon_model().bfloat16()
    ids = torch.arange(40).reshape(2, 20)
    expected = model(input_ids=ids).logits
    with attend_in_blocks(model):
        torch.testing.assert_close(model(input_ids=ids).logits, expected, atol=0.0, rtol=0.0)


def test_evaluation_attends_in_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Both the pass that judges turns and the pass over rows without a judged turn do."""
    calls: list[int] = []

    def spy(query: torch.Tensor, *args: Any, **options: Any) -> torch.Tensor:
        calls.append(query.shape[2])
        return blocked_attention(query, *args, **options)

    monkeypatch.setattr(module, "blocked_attention", spy)
    model = model_in(torch.bfloat16)
    prompt, target = tuple(range(3, 23)), (23, 2)
    turn = ToolEvalExample("s", 0, (), (), "", (), prompt, target)
    decode_turns(model, [turn], DecodeSettings(frozenset({2}), max_new_tokens=3, max_context_tokens=100))
    assert calls[:2] == [22, 22]  # once in each layer; then the model is tried with branches
    calls.clear()
    ids = torch.tensor([[*prompt, *target]])
    row_losses(model, [{"input_ids": ids, "attention_mask": torch.ones_like(ids), "labels": ids}])
    assert calls == [22, 22]


def test_gradient_checkpoints_are_recomputed_by_the_same_function(monkeypatch: pytest.MonkeyPatch) -> None:
    """On rows longer than a block of queries, both forward passes attend in blocks and the gradients are equal."""
    n_tokens, n_layers = 300, 2
    assert n_tokens > module._N_QUERIES
    calls: list[int] = []

    def spy(query: torch.Tensor, *args: Any, **options: Any) -> torch.Tensor:
        calls.append(query.shape[2])
        return blocked_attention(query, *args, **options)

    monkeypatch.setattr(module, "blocked_attention", spy)
    torch.manual_seed(1)
    ids = torch.randint(64, (2, n_tokens))

    def gradients(*, checkpointed: bool) -> list[torch.Tensor]:
        model = model_in(torch.bfloat16)
        if checkpointed:
            model.gradient_checkpointing_enable()
        model.train()
        with attend_in_blocks(model):
            model(input_ids=ids, labels=ids).loss.backward()
        grads = [parameter.grad for parameter in model.parameters() if parameter.grad is not None]
        assert len(grads) == len(list(model.parameters()))
        return grads

    wanted = gradients(checkpointed=False)
    assert calls == [n_tokens] * n_layers
    calls.clear()
    found = gradients(checkpointed=True)
    assert calls == [n_tokens] * 2 * n_layers  # once forward, once recomputed
    for got, want in zip(found, wanted, strict=True):
        assert want.abs().sum() > 0
        torch.testing.assert_close(got, want, atol=0.0, rtol=0.0)
