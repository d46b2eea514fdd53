"""What is particular to the sample data of car sales; the rest is in `tests/simulator_kit/test_sample_data.py`."""

import re
from itertools import pairwise

import pytest

from car_sales.simulator.cast import TEST, TRAIN
from car_sales.simulator.replies import ASK_FILTER
from tests.support.samples import SPLITS, Messages, Sample, text_of

each_split = pytest.mark.parametrize("split", SPLITS)


@each_split
@pytest.mark.parametrize(
    ("said", "least"),
    [(r"V\d+ is \w+\.$|V\d+ has \d+ (seats|km)\.$|In total it is|It is valid for", 0.2), (re.escape(ASK_FILTER), 0.05)],
    ids=["earlier result", "filter"],
)
def test_facts_are_answered_and_filters_asked_for(split: str, said: str, least: float) -> None:
    def shows(messages: Messages) -> bool:
        answers = (after["content"] or "" for before, after in pairwise(messages) if before["role"] == "user")
        return any(re.match(said, text) for text in answers)

    assert Sample("car_sales", split).share(shows) >= least


def test_the_splits_share_no_person_and_no_car() -> None:
    assert not {m.make for m in TRAIN.models} & {m.make for m in TEST.models}
    assert not {m.model for m in TRAIN.models} & {m.model for m in TEST.models}
    assert not set(TRAIN.first_names) & set(TEST.first_names)
    assert not set(TRAIN.last_names) & set(TEST.last_names)


def test_no_word_of_the_test_cast_occurs_in_train() -> None:
    train, test = text_of("car_sales", "train"), text_of("car_sales", "test")
    for model in TEST.models:
        assert not re.search(rf"\b{model.make}\b", train)
    for model in TRAIN.models:
        assert not re.search(rf"\b{model.make}\b", test)
    for name in (*TEST.first_names, *TEST.last_names):
        assert not re.search(rf"\b{name}\b", train)
