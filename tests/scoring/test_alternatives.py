"""Gold with alternatives: accepted values, optional arguments, other calls, no call; worked by hand."""

from dataclasses import replace
from typing import Any

import pytest

from tests.support.scoring import call, number_turns, tool, turn
from trainer.chat.template.server_shape import server_message
from trainer.endpoint import wire_messages
from trainer.errors import DataError
from trainer.eval_metrics import read_predictions, score, write_predictions
from trainer.messages import canonical_messages, read_messages
from trainer.messages.alternatives import accepted_answers
from trainer.scoring.compare import compare
from trainer.scoring.predictions import context_hash
from trainer.scoring.score import Scores
from trainer.types import AcceptedCall, Call, Prediction

TOOLS = [
    tool("f", make={"type": "string"}, color={"type": "string"}, n={"type": "integer"}, required=["make"]),
    tool("g", make={"type": "string"}),
]
GOLD = [call("f", make="VW")]


def accepts(name: str, arguments: dict[str, Any], *optional: str, **values: list[Any]) -> AcceptedCall:
    return AcceptedCall(name, arguments, {key: tuple(inner) for key, inner in values.items()}, optional)


def judged(gold: list[Call], said: Any, *alternatives: tuple[AcceptedCall, ...], **changes: Any) -> Scores:
    one = replace(turn(gold, said, **changes), alternatives=alternatives)
    return score([one], TOOLS)


@pytest.mark.parametrize(
    ("said", "is_exact"),
    [
        ([call("f", make="VW")], True),
        ([call("f", make="Volkswagen")], True),
        ([call("f", make="Volkswagen", color="red")], True),
        ([call("f", make="Volkswagen", color="blue")], True),
        ([call("f", make="Volkswagen", color="green")], False),
        ([call("f", make="Kia")], False),
        ([call("f", color="red")], False),
        ([call("g", make="VW")], True),
        ([call("g", make="Volkswagen")], False),
        ([call("g", make="VW"), call("f", make="VW")], False),
        ("Which make?", False),
    ],
)
def test_an_answer_is_right_if_it_fits_gold_or_an_alternative(said: Any, is_exact: bool) -> None:
    wide = (accepts("f", {"make": "VW", "color": "red"}, "color", make=["Volkswagen"], color=["blue"]),)
    found = judged(GOLD, said, wide, (accepts("g", {"make": "VW"}),))
    assert found.metrics["turn_exact"] == float(is_exact)


def test_rates_are_those_of_the_answer_that_fits_best() -> None:
    two = (accepts("f", {"make": "VW"}), accepts("g", {"make": "VW"}))
    found = judged(GOLD, [call("g", make="VW"), call("f", make="Kia")], two).metrics
    # Against gold: one name of two attempts. Against the alternative: both names, one of two values.
    assert (found["turn_exact"], found["tool_name_f1"], found["call_exact_recall"]) == (0.0, 1.0, 0.5)
    assert found["value_accuracy"] == 0.5


def test_parallel_calls_are_matched_one_to_one_with_their_accepted_values() -> None:
    answer = (accepts("f", {"make": "a"}, make=["b"]), accepts("f", {"make": "b"}))
    assert judged(GOLD, [call("f", make="b"), call("f", make="a")], answer).metrics["turn_exact"] == 1.0
    assert judged(GOLD, [call("f", make="b"), call("f", make="b")], answer).metrics["turn_exact"] == 1.0
    assert judged(GOLD, [call("f", make="a"), call("f", make="a")], answer).metrics["turn_exact"] == 0.0


def test_making_no_call_may_also_be_right_and_changes_no_denominator() -> None:
    found = judged(GOLD, "Which make?", ()).metrics
    assert (found["turn_exact"], found["missed_call_rate"], found["n_call_turns"]) == (1.0, 0.0, 1)
    assert judged(GOLD, "Which make?").metrics["missed_call_rate"] == 1.0


def test_a_call_may_be_right_where_gold_makes_none() -> None:
    answer = (accepts("f", {"make": "VW"}),)
    found = judged([], GOLD, answer).metrics
    assert (found["turn_exact"], found["hallucination_rate"], found["n_no_call_turns"]) == (1.0, 0.0, 1)
    wrong = judged([], [call("f", make="Kia")], answer)
    assert (wrong.metrics["turn_exact"], wrong.metrics["hallucination_rate"]) == (0.0, 0.0)
    assert wrong.verdicts[0].reasons == ("wrong_arguments",)
    assert judged([], [call("f", make="VW")]).metrics["hallucination_rate"] == 1.0


def test_a_failed_request_is_not_exact_even_if_no_call_is_accepted() -> None:
    found = judged(GOLD, "", (), finish="error").metrics
    assert (found["turn_exact"], found["n_errors"]) == (0.0, 1)


def test_predictions_keep_alternatives_and_models_are_compared_with_the_same_ones(tmp_path: Any) -> None:
    answer = (accepts("f", {"make": "VW"}, "make", make=["Volkswagen", None]),)
    turns = [replace(one, alternatives=(answer, ())) for one in number_turns([turn(GOLD, GOLD)] * 3)]
    path = tmp_path / "p.jsonl"
    write_predictions(path, turns, TOOLS)
    assert read_predictions(path) == turns
    with pytest.raises(DataError, match="different histories or gold"):
        compare(turns, [replace(one, alternatives=()) for one in turns], TOOLS)


def message(**changes: Any) -> dict[str, Any]:
    calls = [{"type": "function", "function": {"name": "f", "arguments": '{"make": "VW"}'}}]
    return {"role": "assistant", "content": "", "tool_calls": calls, **changes}


ASKED = {"role": "user", "content": "A VW?"}
WRITTEN = [[{"name": "f", "arguments": {"make": "VW", "n": None}, "values": {"make": ["Volkswagen"]}}], []]


def test_an_argument_that_only_values_name_has_to_be_there() -> None:
    written = [[{"name": "f", "values": {"make": ["VW", "Volkswagen"]}}]]
    answers = accepted_answers(read_messages([ASKED, message(alternatives=written)]).messages[1])
    assert judged([], [call("f")], *answers).metrics["turn_exact"] == 0.0
    assert judged([], [call("f", make="Volkswagen")], *answers).metrics["turn_exact"] == 1.0


def test_no_template_and_no_server_receives_alternatives() -> None:
    read = read_messages([ASKED, message(alternatives=WRITTEN)]).messages
    assert "alternatives" not in server_message(read[1], "string")
    assert "alternatives" not in wire_messages(read)[1]


@pytest.mark.parametrize("as_text", [False, True])
def test_alternatives_of_a_row_are_read_and_stay_out_of_the_history(as_text: bool) -> None:
    import json

    written: Any = json.dumps([[{**WRITTEN[0][0], "arguments": {"make": "VW"}}], []]) if as_text else WRITTEN
    read = read_messages([ASKED, message(alternatives=written)]).messages
    assert accepted_answers(read[1]) == ((accepts("f", {"make": "VW"}, make=["Volkswagen"]),), ())
    assert canonical_messages(read) == read
    assert context_hash(read, []) == context_hash(read_messages([ASKED, message()]).messages, [])


def nested(depth: int) -> Any:
    value: Any = 1
    for _ in range(depth):
        value = [value]
    return value


@pytest.mark.parametrize(
    ("written", "problem"),
    [
        ([[{"name": "f", "argument": {}}]], 'alternative 0, call 0: unknown key "argument"; did you mean arguments'),
        ([{"name": "f"}], "alternative 0: the calls is an object"),
        ([[{"arguments": {}}]], "name is null"),
        ([[{"name": "f", "arguments": {}, "optional": ["make"]}]], 'optional names "make"'),
        ([[{"name": "f", "values": {"make": "VW"}}]], 'the values of "make" is not JSON'),
        ("x", "alternatives is not JSON"),
        ([[{"name": "f", "arguments": {"make": [nested(400)]}}]], "nested too deeply"),
    ],
)
def test_a_malformed_alternative_is_refused_with_its_place(written: Any, problem: str) -> None:
    with pytest.raises(DataError, match="turn 1") as error:
        read_messages([ASKED, message(alternatives=written)])
    assert problem in str(error.value)


def test_only_an_assistant_turn_has_alternatives() -> None:
    with pytest.raises(DataError, match="turn 0: alternatives is on a user message"):
        read_messages([{**ASKED, "alternatives": [[]]}, message()])


def test_old_prediction_files_have_no_alternatives() -> None:
    assert turn(GOLD, GOLD).alternatives == Prediction.__dataclass_fields__["alternatives"].default
