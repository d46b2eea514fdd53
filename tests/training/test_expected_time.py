"""The expected time of a training, printed before its first step."""

from types import SimpleNamespace

import pytest
import torch

import trainer.training.logs.expected_time as module
from tests.support.quick import tiny_model
from trainer.training.logs.expected_time import expected_minutes, n_training_tokens, operations_per_token


@pytest.mark.parametrize(
    ("max_steps", "epochs", "world_size", "expected"),
    [(-1, 3, 1, 3000), (5, 3, 1, 500), (-1, 0.5, 2, 250), (5, 1, 2, 500)],
)
def test_tokens_of_epochs_and_of_steps(max_steps: int, epochs: float, world_size: int, expected: int) -> None:
    args = SimpleNamespace(
        train_batch_size=5, gradient_accumulation_steps=2, world_size=world_size, max_steps=max_steps,
        num_train_epochs=epochs,
    )  # fmt: skip
    assert n_training_tokens(args, n_rows=100, n_tokens=1000) == expected


def test_weights_count_forward_and_where_gradients_flow_backward() -> None:
    model = tiny_model(64)
    names = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")
    n_weights = sum(p.numel() for name, p in model.named_parameters() if any(part in name for part in names))
    assert operations_per_token(model) == 6 * n_weights  # all are trained
    assert operations_per_token(model.requires_grad_(False)) == 2 * n_weights
    model.get_submodule("model.layers.1.self_attn.q_proj").requires_grad_()
    upper = sum(
        p.numel()
        for name, p in model.named_parameters()
        if any(part in name for part in names) and ".layers.1." in name
    )
    trained = sum(p.numel() for p in model.parameters() if p.requires_grad)
    assert operations_per_token(model) == 2 * (n_weights + upper + trained)
    assert operations_per_token(model, recomputes=True) == 2 * (2 * n_weights + upper + trained)
    assert operations_per_token(model, only_trained=True) == 2 * (2 * upper + trained)


def test_minutes_follow_tokens_and_the_rate_of_products(monkeypatch: pytest.MonkeyPatch) -> None:
    model = tiny_model(64).requires_grad_(False)
    operations = operations_per_token(model)
    assert operations is not None
    monkeypatch.setattr(module, "_product_rate", lambda dtype: operations * 1e6 / 60)
    assert expected_minutes(model, n_tokens=3_000_000) == pytest.approx(6)
    assert expected_minutes(model, n_tokens=3_000) is None


def test_tokens_that_come_again_take_only_the_layers_from_the_adapter_on(monkeypatch: pytest.MonkeyPatch) -> None:
    model = tiny_model(64).requires_grad_(False)
    model.get_submodule("model.layers.1.self_attn.q_proj").requires_grad_()
    whole, upper = (operations_per_token(model, only_trained=only) for only in (False, True))
    assert whole is not None
    assert upper is not None
    monkeypatch.setattr(module, "_product_rate", lambda dtype: 1e9)
    once, twice = (expected_minutes(model, n_tokens=n, n_again=n - 10**6) for n in (10**6, 2 * 10**6))
    assert once is not None
    assert twice is not None
    assert twice / once == pytest.approx(1 + upper / whole)
    assert upper < whole


def test_weights_of_experts_give_no_figure() -> None:
    model = tiny_model(64)
    model.experts = torch.nn.Parameter(torch.zeros(2, 3, 4))
    assert operations_per_token(model) is None


def test_the_rate_is_measured() -> None:
    assert module._product_rate(torch.float32) > 1e8
