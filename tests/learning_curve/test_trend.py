"""What the fitted line over the sizes of the training data says about twice as many sessions."""

import numpy as np
import pytest

from tests.support.scoring import call, number_turns, tool, turn
from trainer.learning_curve.trend import JudgedShare, doubling_trend
from trainer.scoring.score import judge_all

TOOLS = [tool("f", a={"type": "integer"})]
DUE = [call("f", a=1)]


def point(n_sessions: int, right: np.ndarray, *, left_out: int = 0) -> JudgedShare:
    """The answers to test turns; right  # bool [test sessions, turns]."""
    turns = number_turns([turn(DUE, DUE if one else "Hi") for one in right.ravel()], per_session=right.shape[1])
    return JudgedShare(n_sessions, judge_all(turns[left_out:], TOOLS))


def rising(*errors: int, n_test: int = 30, per_session: int = 64) -> list[JudgedShare]:
    """Points at 100, 200, 400 … sessions, with `errors` wrong turns in every test session."""
    return [
        point(100 * 2**index, np.tile(np.arange(per_session) >= wrong, (n_test, 1)))
        for index, wrong in enumerate(errors)
    ]


def test_errors_that_halve_go_on_halving() -> None:
    trend = doubling_trend(rising(32, 16, 8))
    assert trend is not None
    assert trend.n_sessions == 800
    assert trend.gain == pytest.approx(4 / 64, abs=1e-3)
    assert trend.interval[0] > 0.05


def test_errors_that_stay_gain_nothing() -> None:
    trend = doubling_trend(rising(8, 8, 8))
    assert trend is not None
    assert trend.gain == pytest.approx(0, abs=1e-9)
    assert trend.interval[0] < 0 < trend.interval[1]


def test_two_points_make_a_line() -> None:
    trend = doubling_trend(rising(32, 16))
    assert trend is not None
    assert trend.gain == pytest.approx(8 / 64, abs=1e-3)


def test_shares_need_not_double() -> None:
    points = [point(n, np.tile(np.arange(64) >= wrong, (20, 1))) for n, wrong in ((100, 32), (400, 8))]
    trend = doubling_trend(points)
    assert trend is not None
    assert trend.gain == pytest.approx(4 / 64, abs=1e-3)


def test_one_test_session_has_no_interval() -> None:
    assert doubling_trend(rising(32, 16, 8, n_test=1)) is None


def test_turns_that_one_share_lacks_are_left_out() -> None:
    right = np.tile(np.arange(8) >= 4, (6, 1))
    partial = point(200, right, left_out=8)
    assert doubling_trend([point(100, right), partial]) == doubling_trend([point(100, right, left_out=8), partial])


def test_the_interval_covers_the_true_gain() -> None:
    """Sessions differ in difficulty, errors fall as a power; the interval should miss in about 5% of curves."""
    rng = np.random.default_rng(0)
    sizes, rates = (100, 200, 400), np.array([0.4, 0.28, 0.196])
    true_gain = 0.196 * (1 - 0.7)
    n_missed, n_curves = 0, 60
    for _ in range(n_curves):
        ease = rng.normal(0, 0.5, size=(20, 1))
        odds = np.log(rates / (1 - rates)) + ease
        wrong = [rng.random((20, 8)) < 1 / (1 + np.exp(-odds[:, [column]])) for column in range(3)]
        trend = doubling_trend([point(size, ~one) for size, one in zip(sizes, wrong, strict=True)])
        assert trend is not None
        n_missed += not trend.interval[0] <= true_gain <= trend.interval[1]
    assert n_missed / n_curves < 0.12
