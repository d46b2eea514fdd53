"""What training did not improve is said in words."""

from collections.abc import Sequence

from tests.support.scoring import call, number_turns, tool, turn
from trainer.scoring.advice.diagnosis import Evidence
from trainer.scoring.advice.shortfalls import shortfalls
from trainer.scoring.compare import Comparison, compare
from trainer.types import Prediction

TOOLS = [tool("f", a={"type": "integer"})]
DUE = [call("f", a=1)]


def model(due_right: Sequence[bool], silent_right: Sequence[bool]) -> list[Prediction]:
    """A turn with a due call and a turn without one in each session; a wrong decision is to stay silent or to call."""
    pairs = zip(due_right, silent_right, strict=True)
    turns = [one for due, silent in pairs for one in (turn(DUE, DUE if due else []), turn([], [] if silent else DUE))]
    return number_turns(turns, per_session=2)


def compared(before: list[Prediction], after: list[Prediction]) -> Comparison:
    return compare(before, after, TOOLS)


NOTHING = Evidence({}, (), {})
ALL, NONE = [True] * 12, [False] * 12


def test_a_better_model_has_none() -> None:
    assert shortfalls(compared(model(NONE, ALL), model(ALL, ALL)), NOTHING) == []


def test_the_same_model_is_not_better() -> None:
    assert shortfalls(compared(model(ALL, NONE), model(ALL, NONE)), NOTHING) == [
        "Training did not make the model better beyond chance: 50.0% of turns are exactly right, 50.0% before."
    ]


def test_a_worse_model_and_its_wrong_decisions_are_named() -> None:
    assert shortfalls(compared(model(ALL, ALL), model(ALL, NONE)), NOTHING) == [
        "Training made the model worse: 50.0% of turns are exactly right, 100.0% before.",
        "The trained model calls a tool more often on turns that need none: 100.0% of those turns, 0.0% before.",
    ]


def test_a_model_that_learned_to_call_and_calls_too_often() -> None:
    """As after a training in which calls outweigh talk: more turns are right, and many calls are invented."""
    (sentence,) = shortfalls(compared(model(NONE, ALL), model(ALL, [index > 6 for index in range(12)])), NOTHING)[1:]
    assert sentence.startswith("The trained model calls a tool more often on turns that need none: 58.3%")
    (sentence,) = shortfalls(compared(model(NONE, [False] * 3 + [True] * 9), model(ALL, NONE)), NOTHING)[1:]
    assert "100.0% of those turns, 25.0% before" in sentence


def test_few_sessions_are_named() -> None:
    few = [True] * 4
    assert shortfalls(compared(model([False] * 4, few), model(few, few)), NOTHING) == [
        "Too few sessions (4; at least 6) to say whether training helped: 100.0% of turns are exactly right, "
        "50.0% before."
    ]


def test_the_likely_reason_comes_last() -> None:
    risen = Evidence(
        {"base": {"perplexity": 2.0}, "final": {"perplexity": 9.0}}, (), {"train": {"learning_rate": 0.03}}
    )
    same = compared(model(ALL, NONE), model(ALL, NONE))
    assert "learning rate is too high" in shortfalls(same, risen)[-1]
    assert shortfalls(compared(model(NONE, ALL), model(ALL, ALL)), risen) == []


def test_few_training_sessions_are_named_even_if_they_helped() -> None:
    better = compared(model(NONE, ALL), model(ALL, ALL))
    (sentence,) = shortfalls(better, Evidence({"data": {"train": {"n_sessions": 8}}}, (), {}))
    assert sentence.startswith("Only 8 training sessions")
    assert shortfalls(better, Evidence({"data": {"train": {"n_sessions": 80}}}, (), {})) == []
