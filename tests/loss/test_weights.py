"""Tokens can count by token, by turn, or with weight on the tokens that decide; the loss is their weighted mean."""

from collections.abc import Callable

import pytest
import torch
from torch.nn import functional

from tests.support.quick import tiny_model
from trainer.loss import SupervisedLoss
from trainer.loss.weights import DECISION_WEIGHT, NAME_WEIGHT, LossWeighting, token_weights
from trainer.types import IGNORE_INDEX

X = IGNORE_INDEX
LABELS = torch.tensor([[X, X, 5, 6, 7, 8, X, X, 9, 4, X], [X, 3, X, X, X, X, X, 1, 2, 3, 4]])
FIRST_AND_LAST = torch.tensor([[0, 1, 0, 0, 1, 0, 0, 1, 1, 0], [2, 0, 0, 0, 0, 0, 1, 0, 0, 1]])


def test_every_token_counts_the_same() -> None:
    assert torch.equal(token_weights(LABELS, "token"), (LABELS[:, 1:] != X).float())


def test_every_turn_counts_the_same() -> None:
    weights = token_weights(LABELS, "turn")
    expected = [[0, 0.25, 0.25, 0.25, 0.25, 0, 0, 0.5, 0.5, 0], [1, 0, 0, 0, 0, 0, 0.25, 0.25, 0.25, 0.25]]
    assert torch.equal(weights, torch.tensor(expected))


def test_deciding_tokens_count_more() -> None:
    weights = token_weights(LABELS, "decision")
    extra = weights - token_weights(LABELS, "token")
    assert torch.equal(extra > 0, FIRST_AND_LAST > 0)
    assert torch.equal(extra, DECISION_WEIGHT * FIRST_AND_LAST)
    rows = torch.cat([token_weights(row[None], "decision") for row in LABELS])
    assert torch.equal(weights, rows)  # so a step has the same weights in one batch and in several


def test_names_of_tools_count_more_where_decisions_do() -> None:
    names = {(5, 6, 7, 8): (1, 2), (1, 2, 3, 4): (3,), (9, 4): (), (3,): ()}
    weights = token_weights(LABELS, "decision", names=lambda turn: names[tuple(turn)])
    expected = token_weights(LABELS, "decision")
    expected[0, 2:4] += NAME_WEIGHT
    expected[1, 9] += NAME_WEIGHT
    assert torch.equal(weights, expected)
    assert torch.equal(token_weights(LABELS, "token", names=lambda _: (0,)), token_weights(LABELS, "token"))


@pytest.mark.parametrize("weighting", ["token", "turn", "decision"])
def test_a_batch_without_a_label_has_no_weight(weighting: LossWeighting) -> None:
    assert not token_weights(torch.full((2, 5), X), weighting).any()


@pytest.mark.parametrize("applies_head", [True, False])
@pytest.mark.parametrize("weighting", ["token", "turn", "decision"])
def test_loss_and_gradients_are_those_of_the_weighted_sum(
    weighting: LossWeighting, applies_head: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = tiny_model(50).float()
    ids = torch.where(LABELS == X, 11, LABELS)
    batch = {"input_ids": ids, "labels": LABELS, "attention_mask": torch.ones_like(ids)}
    weights = token_weights(LABELS, weighting)
    loss = SupervisedLoss(model)
    monkeypatch.setattr(loss, "_applies_head", applies_head)
    found = gradients(model, lambda: loss(model, batch, weights=weights))
    shifted = LABELS[:, 1:].masked_fill(LABELS[:, 1:] == X, 0)

    def plain() -> torch.Tensor:
        logits = model(input_ids=ids).logits[:, :-1]
        losses = functional.cross_entropy(logits.flatten(0, 1), shifted.flatten(), reduction="none")
        return (losses.view_as(weights) * weights).sum()

    torch.testing.assert_close(found, gradients(model, plain), rtol=1e-5, atol=1e-6)


def gradients(model: torch.nn.Module, loss: Callable[[], torch.Tensor]) -> list[torch.Tensor]:
    value = loss()
    trained = [weight for weight in model.parameters() if weight.requires_grad]
    return [value.detach(), *torch.autograd.grad(value, trained)]
