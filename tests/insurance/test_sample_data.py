"""What is particular to the sample data of insurance; the rest is in `tests/simulator_kit/test_sample_data.py`."""

import re
from dataclasses import fields
from itertools import pairwise

import pytest

from insurance.simulator.cast import TEST, TRAIN
from tests.support.samples import SPLITS, Messages, Sample, calls_of, results_of, text_of

each_split = pytest.mark.parametrize("split", SPLITS)


@each_split
def test_questions_about_an_earlier_result_are_answered_without_a_call(split: str) -> None:
    fact = r"P\d+ costs CAD|The deductible of|P\d+ is valid until|That is CAD|Your contact is|The total is"

    def shows(messages: Messages) -> bool:
        answers = (after["content"] or "" for before, after in pairwise(messages) if before["role"] == "user")
        return any(re.match(fact, text) for text in answers)

    assert Sample("insurance", split).share(shows) >= 0.2


@each_split
def test_nobody_asks_twice_for_a_policy_that_was_shown(split: str) -> None:
    for messages in Sample("insurance", split).conversations:
        pairs = zip(calls_of(messages), results_of(messages), strict=True)
        shown = [result["policy"] for (name, _), result in pairs if name == "find_policy" and "error" not in result]
        assert len(set(shown)) == len(shown)


@each_split
def test_lists_of_several_items_and_people_who_were_hurt_occur(split: str) -> None:
    calls = [call for messages in Sample("insurance", split).conversations for call in calls_of(messages)]
    claims = [arguments for name, arguments in calls if name == "report_claim"]
    assert {len(claim["items"]) for claim in claims} >= {1, 2, 3}
    assert {claim["incident"]["injured"] for claim in claims} == {True, False}


def test_the_splits_share_no_name_and_no_thing() -> None:
    train, test = text_of("insurance", "train"), text_of("insurance", "test")
    for field in fields(TEST):
        names = getattr(TEST, field.name)
        assert not set(names) & set(getattr(TRAIN, field.name))
        assert any(name in test for name in names)
        for name in names:
            assert not re.search(rf"\b{name}\b", train), name
