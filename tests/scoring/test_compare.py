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
    assert found.differences["turn_exact"].interval == (0.0, 0.0)


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

    found = compare(model([True, False]), model([True, True]), TOOLS, n_resamples=0)
    written = json.loads(json.dumps(found.to_json(), allow_nan=False))
    assert written["differences"]["turn_exact"] == {
        "first": 0.5, "second": 1.0, "difference": 0.5, "interval": None
    }  # fmt: skip
