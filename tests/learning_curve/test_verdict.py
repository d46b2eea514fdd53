"""What the sentences of a learning curve say, from made-up answers."""

from collections.abc import Callable, Sequence

import numpy as np
import pytest

from tests.support.scoring import call, number_turns, tool, turn
from trainer.learning_curve.verdict import ShareTurns, StepTurns, Verdict, judge_curve
from trainer.types import Prediction

TOOLS = [tool("f", a={"type": "integer"})]
DUE = [call("f", a=1)]
PER_SESSION = 10


def answers(n_sessions: int, is_right: Callable[[int, int], bool]) -> list[Prediction]:
    """Ten turns in each session; `is_right` says whether the turn with this number in this session is answered."""
    places = [(session, index) for session in range(n_sessions) for index in range(PER_SESSION)]
    turns = [turn(DUE, DUE if is_right(session, index) else "Hi") for session, index in places]
    return number_turns(turns, per_session=PER_SESSION)


def rate(n_right: int, n_sessions: int = 40) -> list[Prediction]:
    """The first `n_right` turns of every session are right."""
    return answers(n_sessions, lambda session, index: index < n_right)


def noisy(n_sessions: int, *, seed: int) -> list[Prediction]:
    """Half of the turns are right, others with each seed."""
    right = np.random.default_rng(seed).permuted(np.tile(np.arange(PER_SESSION) % 2 == 0, (n_sessions, 1)), axis=1)
    rows = right.copy()
    rows[:, 0] ^= np.random.default_rng(seed + 100).random(n_sessions) < 0.5
    return answers(n_sessions, lambda session, index: bool(rows[session, index]))


def judged(
    *shares: Sequence[Prediction], evaluations: Sequence[Sequence[Prediction]] = (), steps: Sequence[int] = (15, 30, 60)
) -> Verdict:
    percents = (25, 50, 100)
    points = [
        ShareTurns(percent, 4 * percent, n, turns) for percent, n, turns in zip(percents, steps, shares, strict=True)
    ]
    return judge_curve(points, [StepTurns(30 * (i + 1), one) for i, one in enumerate(evaluations)], TOOLS)


def test_more_data_helps_and_more_steps_do_not() -> None:
    verdict = judged(rate(4), rate(6), rate(8), evaluations=[rate(8), rate(8)])
    assert verdict.conclusion == "More data would help; more steps would not help by 0.020 or more."
    assert verdict.data.answer == "yes"
    assert verdict.data.sentence.startswith(
        "Data: With 400 sessions instead of 200, turn_exact goes from 0.600 to 0.800, +0.200 (95% interval +0.195 to"
    )
    assert verdict.notes == ()


def test_the_gain_of_data_is_mixed_with_that_of_steps_unless_steps_gain_nothing() -> None:
    improving = [rate(6), rate(8)]
    both = judged(rate(4), rate(6), rate(8), evaluations=improving)
    assert both.conclusion == "More data and more steps would help."
    assert both.notes == (
        "The run of all sessions also takes more steps (60 instead of 30), so a part of the gain may come from these. "
        "More epochs cost no sessions: try them first.",
    )
    assert judged(rate(4), rate(6), rate(8), evaluations=improving, steps=(60, 60, 60)).notes == ()


def test_more_steps_help_and_more_data_does_not() -> None:
    verdict = judged(rate(8), rate(8), rate(8), evaluations=[rate(4), rate(6), rate(8)])
    assert verdict.conclusion == "More data would not help by 0.020 or more; more steps would help."
    assert "from step 60 to step 90 of the run of all sessions, turn_exact goes from 0.600 to 0.800" in (
        verdict.steps.sentence
    )
    assert verdict.notes == ("More epochs cost no sessions: raise train.num_train_epochs or train.max_steps.",)


def test_neither_helps() -> None:
    verdict = judged(rate(8), rate(8), rate(8), evaluations=[rate(8), rate(8)])
    assert verdict.conclusion == "Neither more data nor more steps would help by 0.020 or more."
    assert verdict.lines()[0] == verdict.conclusion


def test_a_worse_model_is_no_reason_for_more() -> None:
    verdict = judged(rate(9), rate(9), rate(6), evaluations=[rate(8), rate(6)])
    assert verdict.conclusion == "Neither more data nor more steps would help by 0.020 or more."
    assert "-0.300" in verdict.data.sentence


def test_noise_is_not_decidable_and_the_smallest_visible_difference_is_named() -> None:
    sides = [noisy(12, seed=seed) for seed in (1, 2, 3)]
    verdict = judged(*sides, evaluations=sides[:2])
    assert verdict.conclusion == "Whether more data or more steps would help is not decidable with 12 test sessions."
    difference = verdict.data.difference
    assert difference is not None
    assert f"would show a difference of {difference.detectable:.3f} or more" in verdict.data.sentence
    assert verdict.notes == (
        "More test sessions (data.eval_split, data.n_tool_sessions_eval) show smaller differences.",
    )


@pytest.mark.parametrize("n_sessions", [1, 2, 5])
def test_few_test_sessions_decide_nothing(n_sessions: int) -> None:
    verdict = judged(*(rate(n, n_sessions) for n in (2, 5, 9)))
    assert verdict.data.answer == "undecided"
    assert f"not decidable with {n_sessions} test sessions" in verdict.conclusion
    assert "at least 6 test sessions" in verdict.data.sentence
    assert (verdict.trend is None) == (n_sessions == 1)


@pytest.mark.parametrize("n_evaluations", [0, 1])
def test_one_evaluation_says_nothing_about_steps_and_the_remedy_is_named(n_evaluations: int) -> None:
    verdict = judged(rate(4), rate(6), rate(8), evaluations=[rate(8)] * n_evaluations)
    assert verdict.conclusion == "More data would help; whether more steps would help was not measured."
    assert "train.eval_strategy=epoch" in verdict.steps.sentence


def test_where_hardly_a_turn_is_wrong_nothing_can_help() -> None:
    verdict = judged(rate(4, 100), rate(6, 100), rate(10, 100), evaluations=[rate(6, 100), rate(10, 100)])
    assert verdict.conclusion == "Neither more data nor more steps would help by 0.020 or more."
    assert "so there is hardly anything left to gain" in verdict.data.sentence
    assert "so there is hardly anything left to gain" in verdict.steps.sentence


def test_a_rise_over_all_shares_counts_although_the_last_doubling_alone_does_not() -> None:
    """The last doubling repairs one turn in some sessions and breaks one in a few, which is not beyond chance alone."""

    def last(session: int, index: int) -> bool:
        return (index < 7 and not (session % 12 == 5 and index == 0)) or (index == 7 and session % 4 == 0)

    verdict = judged(rate(3, 24), rate(7, 24), answers(24, lambda s, i: last(s, i) or (i == 8 and s == 1)))
    difference = verdict.data.difference
    assert difference is not None
    assert difference.verdict is None
    assert difference.difference >= 0.02
    assert verdict.data.answer == "yes"
    assert "with the smaller shares, the rise is beyond chance" in verdict.data.sentence
    flat = judged(rate(7, 24), rate(7, 24), answers(24, lambda s, i: last(s, i) or (i == 8 and s == 1)))
    assert flat.data.answer == "undecided"


def test_the_verdict_is_json() -> None:
    import json

    verdict = judged(rate(4), rate(6), rate(8), evaluations=[rate(6), rate(8)])
    assert json.loads(json.dumps(verdict.to_json(), allow_nan=False))["data"]["answer"] == "yes"
