"""Bootstrap intervals: how often they cover the truth, and what they depend on."""

import random

import numpy as np
import pytest

from tests.support.scoring import call, number_turns, tool, turn
from trainer.eval_metrics import TokenLoss, perplexity, score
from trainer.scoring.bootstrap import session_intervals
from trainer.scoring.rates import FloatArray
from trainer.types import Prediction

TOOLS = [tool("f", a={"type": "integer"}, required=["a"])]


def share(sums: FloatArray) -> FloatArray:
    """The first counter divided by the second."""
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.divide(sums[..., :1], sums[..., 1:])


def turns(outcomes: list[bool], *, per_session: int) -> list[Prediction]:
    gold = [call("f", a=1)]
    return number_turns(
        [turn(gold, gold if right else [call("f", a=2)]) for right in outcomes], per_session=per_session
    )


def width(outcomes: list[bool], *, per_session: int) -> float:
    low, high = score(turns(outcomes, per_session=per_session), TOOLS).intervals["turn_exact"]
    return high - low


def test_every_defined_rate_is_inside_its_interval() -> None:
    rng = random.Random(0)
    found = score(turns([rng.random() < 0.7 for _ in range(200)], per_session=4), TOOLS)
    rates = {name for name, value in found.metrics.items() if value is not None and not name.startswith("n_")}
    assert found.intervals.keys() == rates
    for name, (low, high) in found.intervals.items():
        value = found.metrics[name]
        assert value is not None
        assert low <= value <= high


def test_intervals_are_binomial_when_turns_are_independent() -> None:
    rng = random.Random(0)
    outcomes = [rng.random() < 0.5 for _ in range(400)]
    assert width(outcomes, per_session=1) == pytest.approx(2 * 1.96 * 0.5 / 20, rel=0.15)


def test_intervals_widen_when_the_turns_of_a_session_are_correlated() -> None:
    rng = random.Random(0)
    outcomes = [right for _ in range(40) for right in [rng.random() < 0.5] * 10]
    assert width(outcomes, per_session=10) > 2.5 * width(outcomes, per_session=1)


def test_the_interval_covers_the_truth_as_often_as_stated() -> None:
    rng = np.random.default_rng(0)
    covered = 0
    for seed in range(300):
        hardness = rng.beta(2, 2, size=50)
        right = rng.binomial(6, hardness)
        counts = np.stack([right, np.full(50, 6)], axis=1).astype(float)
        (low,), (high,) = session_intervals(counts, share, n_resamples=300, seed=seed)
        covered += low <= 0.5 <= high
    assert 0.90 <= covered / 300 <= 0.98


def test_unanimous_sessions_do_not_mean_certainty() -> None:
    found = score(turns([True] * 30, per_session=1), TOOLS)
    assert found.intervals["turn_exact"] == pytest.approx((0.025 ** (1 / 30), 1.0))
    found = score(turns([False] * 30, per_session=1), TOOLS)
    assert found.intervals["turn_exact"] == pytest.approx((0.0, 1 - 0.025 ** (1 / 30)))


def test_intervals_depend_only_on_the_seed() -> None:
    outcomes = turns([index % 7 > 1 for index in range(60)], per_session=3)
    first, again = score(outcomes, TOOLS, seed=1), score(outcomes[::-1], TOOLS, seed=1)
    assert first.intervals == again.intervals
    assert first.intervals != score(outcomes, TOOLS, seed=2).intervals
    assert first.metrics == score(outcomes, TOOLS, seed=2).metrics


def test_one_session_has_no_interval() -> None:
    assert score(turns([True, False], per_session=2), TOOLS).intervals == {}


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
