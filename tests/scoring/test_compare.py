"""Two models on the same turns."""

import random
from dataclasses import replace

import pytest

from tests.support.scoring import call, number_turns, tool, turn
from trainer.errors import DataError
from trainer.scoring.compare import compare
from trainer.types import Prediction

TOOLS = [tool("f", a={"type": "integer"})]
GOLD = [call("f", a=1)]


def model(outcomes: list[bool], *, per_session: int = 1) -> list[Prediction]:
    turns = [turn(GOLD, GOLD if right else [call("f", a=2)]) for right in outcomes]
    return number_turns(turns, per_session=per_session)


def test_the_difference_is_second_minus_first_and_flips_are_listed() -> None:
    found = compare(model([True, False, False, True]), model([True, True, True, False]), TOOLS)
    row = found.differences["turn_exact"]
    assert (row.first, row.second, row.difference) == (0.5, 0.75, 0.25)
    assert [(flip.session_id, flip.gained, flip.reasons) for flip in found.flips] == [
        ("s0001", True, ("wrong_arguments",)),
        ("s0002", True, ("wrong_arguments",)),
        ("s0003", False, ("wrong_arguments",)),
    ]
    assert (found.n_paired, found.n_unpaired) == (4, 0)


def test_pairing_reveals_a_small_consistent_gain() -> None:
    rng = random.Random(0)
    hard = [rng.random() < 0.5 for _ in range(200)]
    better = [right or rng.random() < 0.1 for right in hard]
    found = compare(model(hard), model(better), TOOLS)
    paired = found.differences["turn_exact"].interval
    assert paired is not None
    assert paired[0] > 0
    first, second = (scores.intervals["turn_exact"] for scores in (found.first, found.second))
    assert first[1] > second[0], "the unpaired intervals overlap"


def test_a_model_does_not_differ_from_itself() -> None:
    same = model([True, False, True])
    found = compare(same, same[::-1], TOOLS)
    assert found.flips == ()
    assert all(row.difference == 0 for row in found.differences.values())
    row = found.differences["turn_exact"]
    assert row.interval is not None
    assert row.interval[0] < 0 < row.interval[1]
    assert (row.p_value, row.verdict) == (None, None)


def test_turns_that_only_one_model_was_asked_are_left_out_on_both_sides() -> None:
    first, second = model([True] * 4), model([True] * 4)
    first[0] = replace(first[0], context_hash="another")
    second[1] = replace(second[1], finish_reason="skipped_for_length")
    found = compare(first, second[:3], TOOLS)
    assert (found.n_paired, found.n_unpaired) == (1, 5)
    assert found.first.metrics["n_turns"] == found.second.metrics["n_turns"] == 1


def test_nothing_in_common_is_an_error() -> None:
    with pytest.raises(DataError, match="no turn is in both"):
        compare(model([True]), [replace(model([True])[0], session_id="z")], TOOLS)
    with pytest.raises(DataError, match="have different histories or gold"):
        compare(model([True]), [replace(model([True])[0], context_hash="z")], TOOLS)
    with pytest.raises(DataError, match="predicted more than once"):
        compare(model([True]) * 2, model([True]), TOOLS)


def test_a_comparison_is_json() -> None:
    import json

    found = compare(model([True, False]), model([True, True]), TOOLS)
    written = json.loads(json.dumps(found.to_json(), allow_nan=False))
    assert written["differences"]["turn_exact"] == {
        "first": 0.5, "second": 1.0, "difference": 0.5, "interval": [-1.0, 1.0],
        "p_value": None, "verdict": None, "detectable": None,
    }  # fmt: skip


def test_the_p_value_of_the_sign_flip_test_is_worked_by_hand() -> None:
    # Seven sessions of one turn: five gained, one lost, one equal. Of the 64 choices of sides, 1 + 6 have a difference
    # of at least four turns to one side, and as many to the other.
    first = model([False] * 5 + [True, True])
    second = model([True] * 5 + [False, True])
    row = compare(first, second, TOOLS).differences["turn_exact"]
    assert row.p_value == pytest.approx(14 / 64)
    assert row.verdict is None


@pytest.mark.parametrize("n_sessions", [5, 6])
def test_below_six_sessions_there_is_no_verdict(n_sessions: int) -> None:
    found = compare(model([False] * n_sessions), model([True] * n_sessions), TOOLS)
    row = found.differences["turn_exact"]
    assert row.verdict == (None if n_sessions == 5 else "better")
    assert row.p_value == (None if n_sessions == 5 else 2 / 64)
    assert ("too few for a verdict" in found.conclusion()) == (n_sessions == 5)


def test_a_verdict_knows_which_direction_is_better() -> None:
    silent = number_turns([turn([], "Hello!") for _ in range(12)])
    calling = number_turns([turn([], GOLD) for _ in range(12)])
    row = compare(silent, calling, TOOLS).differences["hallucination_rate"]
    assert (row.difference, row.verdict) == (1.0, "worse")


def test_more_sessions_show_smaller_differences() -> None:
    rng = random.Random(0)
    detectable = []
    for n in (10, 40, 160):
        sides = [model([rng.random() < 0.8 for _ in range(n * 5)], per_session=5) for _ in range(2)]
        found = compare(sides[0], sides[1], TOOLS)
        shown = found.differences["turn_exact"].detectable
        assert shown is not None
        detectable.append(shown)
        assert f"a difference of {detectable[-1]:.3f} or more" in found.conclusion()
    assert detectable == sorted(detectable, reverse=True)


def test_equal_models_rarely_differ() -> None:
    rng = random.Random(0)
    stars = 0
    for _ in range(60):
        sides = [model([rng.random() < 0.8 for _ in range(80)], per_session=8) for _ in range(2)]
        stars += any(row.verdict for row in compare(sides[0], sides[1], TOOLS).differences.values())
    assert stars <= 6
