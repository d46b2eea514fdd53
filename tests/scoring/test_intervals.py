"""Intervals of rates: how often they cover the truth, what they depend on, and that one more error never helps."""

import random
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import beta

from tests.support.scoring import call, number_turns, tool, turn
from trainer.eval_metrics import score
from trainer.scoring.intervals import rate_interval
from trainer.scoring.rates import RATES
from trainer.scoring.score import judge_all
from trainer.types import Call, Prediction

TOOLS = [tool(name, a={"type": "integer"}, required=["a"]) for name in ("f", "g")]


def turns(outcomes: list[bool], *, per_session: int) -> list[Prediction]:
    gold = [call("f", a=1)]
    return number_turns(
        [turn(gold, gold if right else [call("f", a=2)]) for right in outcomes], per_session=per_session
    )


def interval(errors: list[int], sizes: list[int]) -> tuple[float, float]:
    found = rate_interval(np.array(errors, float), np.array(sizes, float), n_trials=float(sum(sizes)))
    assert found is not None
    return found


def exact(right: int, n: int) -> tuple[float, float]:
    """The interval of Clopper and Pearson."""
    low = beta.ppf(0.025, right, n - right + 1) if right else 0.0
    return float(low), float(beta.ppf(0.975, right + 1, n - right)) if right < n else 1.0


@pytest.mark.parametrize("n_wrong", [0, 1, 7, 30])
def test_independent_trials_have_the_exact_binomial_interval(n_wrong: int) -> None:
    outcomes = [index >= n_wrong for index in range(30)]
    found = score(turns(outcomes, per_session=1), TOOLS).intervals
    assert found["turn_exact"] == pytest.approx(exact(30 - n_wrong, 30))
    assert found["session_exact"] == pytest.approx(exact(30 - n_wrong, 30))


def test_session_exact_is_binomial_however_long_the_sessions_are() -> None:
    found = score(turns([index % 10 > 0 or index < 50 for index in range(100)], per_session=10), TOOLS)
    assert found.metrics["session_exact"] == 0.5
    assert found.intervals["session_exact"] == pytest.approx(exact(5, 10))


def test_a_hand_worked_interval() -> None:
    # Ten sessions of ten right turns: deff = 1 + 0.1 * (10 - 1) = 1.9, and t(99) / t(9) = 1.984 / 2.262.
    n = 100 / 1.9 * (1.98422 / 2.26216) ** 2
    assert interval([0] * 10, [10] * 10) == pytest.approx((0.025 ** (1 / n), 1.0), rel=1e-4)


def test_every_defined_rate_is_inside_its_interval_which_has_a_width() -> None:
    rng = random.Random(0)
    found = score(turns([rng.random() < 0.7 for _ in range(200)], per_session=4), TOOLS)
    rates = {name for name, value in found.metrics.items() if value is not None and not name.startswith("n_")}
    assert found.intervals.keys() == rates
    for name, (low, high) in found.intervals.items():
        value = found.metrics[name]
        assert value is not None
        assert low <= value <= high
        assert high - low > 0.01


def test_intervals_widen_when_the_turns_of_a_session_are_correlated() -> None:
    rng = random.Random(0)
    right = [rng.random() < 0.5 for _ in range(40)]
    together = interval([0 if one else 10 for one in right], [10] * 40)
    apart = interval([5] * 40, [10] * 40)
    assert together[1] - together[0] > 2 * (apart[1] - apart[0])


def test_sessions_without_anything_to_judge_do_not_count() -> None:
    assert interval([1, 0, 2, 0, 0], [5, 0, 5, 0, 5]) == interval([1, 2, 0], [5, 5, 5])
    assert rate_interval(np.array([1.0, 0.0]), np.array([5.0, 0.0]), n_trials=5.0) is None


def test_intervals_do_not_depend_on_the_order_of_turns() -> None:
    outcomes = turns([index % 7 > 1 for index in range(60)], per_session=3)
    assert score(outcomes, TOOLS).intervals == score(outcomes[::-1], TOOLS).intervals


def test_one_session_has_no_interval() -> None:
    assert score(turns([True, False], per_session=2), TOOLS).intervals == {}


@st.composite
def results(draw: st.DrawFn) -> tuple[list[int], list[int], int]:
    """Errors and sizes of some sessions, and a session that can have one more error."""
    sizes = draw(st.lists(st.integers(1, 14), min_size=2, max_size=12))
    errors = [draw(st.one_of(st.just(0), st.just(size), st.integers(0, size))) for size in sizes]
    worse = [index for index, (n, size) in enumerate(zip(errors, sizes, strict=True)) if n < size]
    if not worse:
        errors[0], worse = errors[0] - 1, [0]
    return errors, sizes, draw(st.sampled_from(worse))


@settings(max_examples=300, deadline=None)
@given(results())
def test_one_more_error_never_gives_a_better_interval(result: tuple[list[int], list[int], int]) -> None:
    errors, sizes, at = result
    before = interval(errors, sizes)
    errors[at] += 1
    after = interval(errors, sizes)
    assert after[0] <= before[0] + 1e-9
    assert after[1] <= before[1] + 1e-9
    assert before[0] < before[1]


GOLD = (call("f", a=1), call("g", a=2))
Worsen = Callable[[Call], list[Call]]
MISTAKES: dict[str, Worsen] = {
    "another value": lambda gold: [Call(gold.name, {"a": -1})],
    "another tool": lambda gold: [Call("h", gold.arguments)],
    "no call": lambda gold: [],
    "one call more": lambda gold: [gold, Call("h", {"a": 3})],
}


@pytest.mark.parametrize("kind", MISTAKES)
def test_one_more_wrong_turn_gives_no_rate_a_better_interval(kind: str) -> None:
    rng = random.Random(kind)
    tested = set()
    for _ in range(12):
        n_turns = rng.randint(20, 60)
        golds: list[tuple[Call, ...]] = [() if rng.random() < 0.4 else (rng.choice(GOLD),) for _ in range(n_turns)]
        said = [list(gold) if rng.random() < 0.8 else MISTAKES[rng.choice(list(MISTAKES))](GOLD[0]) for gold in golds]
        at = next(index for index, gold in enumerate(golds) if gold and said[index] == list(gold))
        before = number_turns(list(map(turn, golds, said)), per_session=5)
        said[at] = MISTAKES[kind](golds[at][0])
        after = number_turns(list(map(turn, golds, said)), per_session=5)
        was, now = score(before, TOOLS).intervals, score(after, TOOLS).intervals
        for rate in RATES:
            if rate.name not in was or judged(before, rate.denominator) != judged(after, rate.denominator):
                continue  # the mistake changes what this rate judges
            tested.add(rate.name)
            low, high = in_order(was[rate.name], rate.better)
            lower, upper = in_order(now[rate.name], rate.better)
            assert lower <= low + 1e-9, rate.name
            assert upper <= high + 1e-9, rate.name
    assert tested >= {"turn_exact", "session_exact", "missed_call_rate", "hallucination_rate", "call_exact_recall"}


def in_order(interval: tuple[float, float], better: str) -> tuple[float, float]:
    """The worse bound and the better bound, as numbers that are higher if better."""
    return interval if better == "higher" else (-interval[1], -interval[0])


def judged(predictions: list[Prediction], counters: tuple[str, ...]) -> list[int]:
    """How much a rate with this denominator judges in every turn."""
    return [sum(getattr(turn.counts, name) for name in counters) for turn in judge_all(predictions, TOOLS)]


@pytest.mark.parametrize(("n_sessions", "rate", "correlation"), [(10, 0.87, 0.3), (30, 0.95, 0.3), (60, 0.05, 0.15)])
def test_the_interval_covers_the_truth_as_often_as_stated(n_sessions: int, rate: float, correlation: float) -> None:
    rng = np.random.default_rng(0)
    covered, total = 0, 1 / correlation - 1
    for _ in range(300):
        sizes = rng.integers(6, 15, size=n_sessions)
        right = rng.binomial(sizes, rng.beta(rate * total, (1 - rate) * total, size=n_sessions))
        low, high = interval((sizes - right).tolist(), sizes.tolist())
        covered += low <= rate <= high
    assert covered / 300 >= 0.93


def test_the_interval_of_the_macro_f1_covers_the_truth_with_a_rare_tool() -> None:
    rng = random.Random(0)
    chance = {"f": 0.9, "g": 0.6}  # of the right name; a wrong one is never the name of a gold tool
    expected = sum(2 * one / (1 + one) for one in chance.values()) / 2
    covered = 0
    for _ in range(60):
        names = ["g" if rng.random() < 0.1 else "f" for _ in range(120)]
        said = [[Call(name if rng.random() < chance[name] else "h", {"a": 1})] for name in names]
        predictions = [turn([Call(name, {"a": 1})], made) for name, made in zip(names, said, strict=True)]
        low, high = score(number_turns(predictions, per_session=8), TOOLS).intervals["tool_name_f1_macro"]
        covered += low <= expected <= high
    assert covered / 60 >= 0.9
