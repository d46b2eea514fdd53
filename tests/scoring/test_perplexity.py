"""Perplexity of all tokens, of call tokens and of prose tokens."""

import numpy as np
import pytest

from trainer.eval_metrics import TokenLoss, perplexity


def test_perplexity_is_the_exponential_of_the_mean_loss() -> None:
    assert perplexity(2 * np.log(3.0), 2) == pytest.approx(3.0)
    assert perplexity(0.0, 0) is None
    assert perplexity(float("nan"), 3) is None
    assert perplexity(1e6, 3) is None


def test_perplexity_splits_into_call_and_prose_tokens() -> None:
    loss = TokenLoss(call_nll=np.log(2.0), n_call_tokens=1) + TokenLoss(prose_nll=np.log(8.0), n_prose_tokens=1)
    assert loss.metrics() == {
        "perplexity": pytest.approx(4.0),
        "perplexity_call_tokens": pytest.approx(2.0),
        "perplexity_prose_tokens": pytest.approx(8.0),
        "n_call_tokens": 1,
        "n_prose_tokens": 1,
    }
    assert TokenLoss().metrics()["perplexity"] is None
