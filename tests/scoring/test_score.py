"""Each metric on a case worked out by hand, and each known flaw of other scorers on a case that is scored correctly."""

import random
import subprocess
import sys
from dataclasses import replace
from typing import Any

import pytest

from tests.support.scoring import GARBLED, call, number_turns, tool, turn
from trainer.errors import DataError
from trainer.eval_metrics import Scores, score
from trainer.scoring.rates import RATES
from trainer.tools.wire import tool_hash
from trainer.types import Call, Prediction

F = tool("f", a={"type": "integer"}, b={"type": "string"}, required=["a"])
G = tool("g", q={"type": "array", "items": {"type": "string"}}, n={"type": "integer", "default": 1})
H = tool("h", when={"type": "string", "enum": ["am", "pm"]})
TOOLS = (F, G, H)


def metrics(*turns: Prediction, per_session: int = 1) -> dict[str, float | None]:
    return scored(*turns, per_session=per_session).metrics


def scored(*turns: Prediction, per_session: int = 1) -> Scores:
    return score(number_turns(turns, per_session=per_session), TOOLS)


# --- decisions


def test_a_no_call_turn_is_exact_when_nothing_is_called() -> None:
    found = scored(turn([], "Hello!"), turn([], [call("f", a=1)]), turn([], [GARBLED]), turn([], ""))
    assert found.metrics["turn_exact"] == 0.5
    assert found.metrics["hallucination_rate"] == 0.5
    assert found.decisions["no_call"] == {"call": 1, "no_call": 2, "malformed": 1, "error": 0}


def test_garbage_is_not_a_correct_abstention() -> None:
    """BFCL counts an unparsable call on an irrelevant question as a correct abstention."""
    found = metrics(turn([], [GARBLED]))
    assert (found["hallucination_rate"], found["turn_exact"]) == (1.0, 0.0)


def test_a_call_turn_without_an_attempt_is_missed() -> None:
    found = scored(
        turn([call("f", a=1)], "I will look."),
        turn([call("f", a=1)], [GARBLED]),
        turn([call("f", a=1)], [call("g")]),
        turn([call("f", a=1)], [call("f", a=1)]),
    )
    assert found.metrics["missed_call_rate"] == 0.25
    assert found.metrics["turn_exact"] == 0.25
    assert found.decisions["call"] == {"call": 2, "no_call": 1, "malformed": 1, "error": 0}
    assert [verdict.reasons for verdict in found.verdicts] == [
        ("missed_call",),
        ("malformed_call", "too_few_calls"),
        ("wrong_tool",),
        (),
    ]


def test_a_session_is_exact_when_all_its_turns_are() -> None:
    right, wrong = turn([], "Hello!"), turn([], [call("f", a=1)])
    assert metrics(right, right, right, wrong, per_session=2)["session_exact"] == 0.5
    assert metrics(right, wrong, wrong, right, per_session=2)["session_exact"] == 0.0


def test_right_calls_beside_a_malformed_one_are_not_exact() -> None:
    found = metrics(turn([call("f", a=1)], [call("f", a=1), GARBLED]))
    assert (found["turn_exact"], found["call_exact_recall"], found["call_exact_precision"]) == (0.0, 1.0, 0.5)


# --- names


def test_names_are_matched_as_multisets() -> None:
    found = metrics(turn([call("f", a=1), call("f", a=2), call("g")], [call("f", a=1), call("g"), call("g")]))
    # gold f f g, predicted f g g: one f and one g match.
    assert found["tool_name_precision"] == pytest.approx(2 / 3)
    assert found["tool_name_recall"] == pytest.approx(2 / 3)
    assert found["tool_name_f1"] == pytest.approx(2 / 3)


def test_names_are_pooled_over_turns_and_over_tools() -> None:
    found = scored(
        turn([call("f", a=1)], [call("f", a=1)]),
        turn([call("f", a=1)], [call("f", a=1)]),
        turn([call("g")], "no"),
    )
    assert found.metrics["tool_name_precision"] == 1.0
    assert found.metrics["tool_name_recall"] == pytest.approx(2 / 3)
    assert found.metrics["tool_name_f1"] == pytest.approx(0.8)
    assert found.metrics["tool_name_f1_macro"] == pytest.approx((1.0 + 0.0) / 2)


def test_an_attempt_without_a_readable_name_lowers_name_precision() -> None:
    found = metrics(turn([call("f", a=1)], [call("f", a=1), GARBLED]))
    assert (found["tool_name_precision"], found["tool_name_recall"]) == (0.5, 1.0)


def test_a_name_counts_even_where_the_arguments_cannot_be_read() -> None:
    found = metrics(turn([call("f", a=1)], ['<tool_call>{"name": "f", "arguments": 3}</tool_call>']))
    assert (found["tool_name_recall"], found["arguments_parse_rate"]) == (1.0, 0.0)
    assert found["arguments_exact_match"] == 0.0


def test_a_tool_that_was_not_offered_is_unknown() -> None:
    found = metrics(turn([call("f", a=1)], [call("f", a=1), call("k")]), turn([], [call("f", a=1)], offered=["g"]))
    assert found["unknown_tool_rate"] == pytest.approx(2 / 3)


# --- arguments


def test_parse_rate_counts_attempts_not_turns() -> None:
    found = metrics(turn([call("f", a=1)], [call("f", a=1), GARBLED, call("g")]), turn([], "Hello!"))
    assert found["arguments_parse_rate"] == pytest.approx(2 / 3)


def test_exact_match_counts_calls_that_were_not_made() -> None:
    """Other scorers average over predicted calls only, so a model that makes fewer calls scores higher."""
    found = metrics(turn([call("f", a=1)], [call("f", a=1)]), turn([call("f", a=1)], "no"))
    assert found["arguments_exact_match"] == 0.5
    assert found["call_exact_recall"] == 0.5
    assert found["call_exact_precision"] == 1.0


@pytest.mark.parametrize("said", ["5", 5.5, True, [5], None, "five"])
def test_values_are_compared_with_their_types(said: Any) -> None:
    """Other scorers compare strings, so 5 equals "5"."""
    assert metrics(turn([call("f", a=5)], [call("f", a=said)]))["arguments_exact_match"] == 0.0


def test_strings_keep_their_punctuation_and_case() -> None:
    """BFCL strips punctuation and case, so "1.5" equals "15"."""
    for said in ("15", "1,5", "1.5 ", "A"):
        assert metrics(turn([call("f", b="1.5")], [call("f", b=said)]))["turn_exact"] == 0.0
    assert metrics(turn([call("f", b="a")], [call("f", b="A")]))["turn_exact"] == 0.0


def test_a_whole_number_may_be_written_as_a_fraction_at_any_depth() -> None:
    """BFCL takes an integer for a float at the top level only."""
    gold = call("f", a=1, b={"x": [2.0, {"y": 3}]})
    assert metrics(turn([gold], [call("f", b={"x": [2, {"y": 3.0}]}, a=1.0)]))["turn_exact"] == 1.0


def test_an_empty_call_does_not_match_a_full_one() -> None:
    """τ²-bench compares only the keys that the prediction has."""
    found = metrics(turn([call("f", a=1)], [call("f")]))
    assert (found["turn_exact"], found["argument_recall"], found["argument_precision"]) == (0.0, 0.0, None)


def test_an_omitted_argument_equals_its_default() -> None:
    assert metrics(turn([call("g", n=1)], [call("g")]))["turn_exact"] == 1.0
    assert metrics(turn([call("g")], [call("g", n=1)]))["turn_exact"] == 1.0
    assert metrics(turn([call("g", n=2)], [call("g")]))["turn_exact"] == 0.0


def test_paths_and_values_are_counted_over_nested_arguments() -> None:
    gold = call("f", a=1, b={"x": 1, "y": [1, 2]})
    said = call("f", a=2, b={"x": 1, "y": [1], "z": 0})
    # gold paths a, b.x, b.y.0, b.y.1; predicted a, b.x, b.y.0, b.z; shared a, b.x, b.y.0; equal b.x, b.y.0
    found = metrics(turn([gold], [said]))
    assert (found["argument_precision"], found["argument_recall"], found["argument_f1"]) == (0.75, 0.75, 0.75)
    assert found["value_accuracy"] == pytest.approx(2 / 3)


def test_paths_of_unmatched_calls_count() -> None:
    found = metrics(turn([call("f", a=1, b="x")], [call("g", n=1)]))
    assert (found["argument_precision"], found["argument_recall"]) == (0.0, 0.0)
    assert found["value_accuracy"] is None


# --- matching


def test_calls_are_matched_in_any_order() -> None:
    gold = [call("f", a=1), call("g"), call("f", a=2)]
    assert metrics(turn(gold, [gold[2], gold[0], gold[1]]))["turn_exact"] == 1.0


def test_one_call_cannot_match_two() -> None:
    found = metrics(turn([call("f", a=1), call("f", a=1)], [call("f", a=1)]))
    assert (found["turn_exact"], found["call_exact_recall"]) == (0.0, 0.5)


def test_an_extra_call_is_not_exact() -> None:
    found = scored(turn([call("f", a=1)], [call("f", a=1), call("f", a=1)]))
    assert found.metrics["turn_exact"] == 0.0
    assert found.metrics["call_exact_precision"] == 0.5
    assert found.verdicts[0].reasons == ("too_many_calls",)


def test_an_equal_pair_outweighs_two_similar_ones() -> None:
    gold = [call("f", a=1, b="x"), call("f", a=1)]
    assert metrics(turn(gold, [gold[0], call("f", b="x")]))["call_exact_recall"] == 0.5


def test_matching_is_optimal_not_greedy() -> None:
    """BFCL matches each call with the first that fits, and may then find none for the next."""
    near = tool("f", a={"type": "number", "x-compare": "number"})
    # Within the tolerance, 1.0 fits both, and 1.0000015 fits only the second.
    gold = [call("f", a=1.0000008), call("f", a=1.0)]
    said = [call("f", a=1.0), call("f", a=1.0000015)]
    found = score([turn(gold, said)], [near]).metrics
    assert found["turn_exact"] == 1.0


def test_calls_without_an_equal_one_are_matched_by_similarity() -> None:
    gold = [call("f", a=1, b="x"), call("f", a=2, b="y")]
    said = [call("f", a=2, b="z"), call("f", a=1, b="w")]
    assert metrics(turn(gold, said))["value_accuracy"] == 0.5


# --- schemas


def test_schema_problems_are_counted_by_reason() -> None:
    found = metrics(
        turn([], [call("f", a=1)]),
        turn([], [call("f")]),
        turn([], [call("f", a=1, z=1)]),
        turn([], [call("f", a="1", b=2)]),
        turn([], [call("h", when="noon")]),
        turn([], [call("k", anything=1)]),
        turn([], [GARBLED]),
    )
    assert found["schema_valid_rate"] == pytest.approx(1 / 5)
    assert {key: value for key, value in found.items() if key.startswith("n_schema")} == {
        "n_schema_missing_required": 1,
        "n_schema_unknown_argument": 1,
        "n_schema_wrong_type": 1,
        "n_schema_not_in_enum": 1,
        "n_schema_other": 0,
    }


# --- failures


def test_errors_and_truncations_stay_in_the_denominators() -> None:
    gold = [call("f", a=1)]
    found = scored(
        turn(gold, gold),
        turn(gold, "", finish="error"),
        turn([], "", finish="error"),
        turn(gold, gold, finish="length"),
        turn([], "and so on and so on", finish="length"),
    )
    assert found.metrics["turn_exact"] == 0.2
    assert found.metrics["call_exact_recall"] == pytest.approx(2 / 3)
    assert found.metrics["missed_call_rate"] == pytest.approx(1 / 3)
    assert found.metrics["hallucination_rate"] == 0.0
    assert (found.metrics["n_errors"], found.metrics["n_truncated"], found.metrics["n_turns"]) == (2, 2, 5)
    assert found.decisions["call"]["error"] == found.decisions["no_call"]["error"] == 1


def test_turns_skipped_for_length_are_counted_and_in_no_rate() -> None:
    gold = [call("f", a=1)]
    found = scored(turn(gold, gold), turn(gold, "", finish="skipped_for_length"), per_session=2)
    assert (found.metrics["n_turns"], found.metrics["n_skipped_for_length"]) == (2, 1)
    assert (found.metrics["turn_exact"], found.metrics["call_exact_recall"]) == (1.0, 1.0)
    assert found.metrics["session_exact"] is None
    assert found.verdicts[1].exact is None
    assert found.verdicts[1].reasons == ("skipped_for_length",)


def test_a_rate_with_nothing_to_judge_is_undefined() -> None:
    found = metrics(turn([], "Hello!"))
    undefined = {name for name, value in found.items() if value is None}
    assert undefined == {
        "missed_call_rate", "missed_call_rate_answered",
        "tool_name_precision", "tool_name_recall", "tool_name_f1", "tool_name_f1_macro",
        "call_exact_precision", "call_exact_recall", "arguments_parse_rate", "arguments_exact_match",
        "argument_precision", "argument_recall", "argument_f1", "value_accuracy", "schema_valid_rate",
        "unknown_tool_rate",
    }  # fmt: skip


def test_no_predictions_score_nothing() -> None:
    found = score([], TOOLS)
    assert found.metrics["turn_exact"] is None
    assert found.metrics["n_turns"] == 0


def test_a_turn_predicted_twice_is_refused() -> None:
    with pytest.raises(DataError, match=r'1 turns are predicted more than once, .* turn 0 of session "s"'):
        score([turn([], "a"), turn([], "b")], TOOLS)


# --- tables


def test_tools_are_listed_worst_first() -> None:
    found = scored(
        turn([call("f", a=1)], [call("f", a=1)]),
        turn([call("g")], [call("g")]),
        turn([call("g")], [call("h")]),
        turn([call("h")], [call("h")]),
    )
    assert [row.name for row in found.per_tool] == ["g", "h", "f"]
    worst = found.per_tool[0]
    assert (worst.n_gold, worst.n_predicted, worst.n_exact, worst.recall) == (2, 1, 1, 0.5)


def test_confusions_pair_equal_names_first() -> None:
    found = scored(
        turn([call("f", a=1), call("g")], [call("g"), call("h")]),
        turn([call("f", a=1)], "no"),
        turn([], [GARBLED]),
    )
    assert found.confusion == {
        "(no call)": {"(malformed)": 1},
        "f": {"(no call)": 1, "h": 1},
        "g": {"g": 1},
    }


# --- laws


def random_gold(rng: random.Random) -> list[Call]:
    kinds = [
        lambda: call("f", a=rng.randrange(50), b=rng.choice(["x", "y", "zz"])),
        lambda: call("g", q=[rng.choice("abc") for _ in range(rng.randrange(3))], n=rng.randrange(4)),
        lambda: call("h", when=rng.choice(["am", "pm"])),
    ]
    return [rng.choice(kinds)() for _ in range(rng.choice([0, 0, 1, 1, 2, 3]))]


def test_gold_against_itself_is_perfect_and_shuffled_gold_is_not() -> None:
    rng = random.Random(0)
    golds = [random_gold(rng) for _ in range(300)]
    perfect = score(number_turns([turn(gold, gold or "Hi") for gold in golds], per_session=5), TOOLS)
    lower_is_better = {rate.name for rate in RATES if rate.better == "lower"}
    rates = {name: value for name, value in perfect.metrics.items() if not name.startswith("n_")}
    assert rates == {name: 0.0 if name in lower_is_better else 1.0 for name in rates}
    assert perfect.metrics["n_errors"] == perfect.metrics["n_malformed_calls"] == 0
    assert all(verdict.exact for verdict in perfect.verdicts)

    shuffled = rng.sample(golds, len(golds))
    turns = [turn(gold, other or "Hi") for gold, other in zip(golds, shuffled, strict=True)]
    worse = score(number_turns(turns, per_session=5), TOOLS).metrics
    for name in rates.keys() - {"arguments_parse_rate", "schema_valid_rate", "unknown_tool_rate"}:
        value = worse[name]
        assert value is not None
        assert value > 0.1 if name in lower_is_better else value < 0.7, name


def test_the_order_of_predictions_does_not_matter() -> None:
    rng = random.Random(1)
    golds = [random_gold(rng) for _ in range(60)]
    turns = [turn(gold, random_gold(rng) or "Hi") for gold in golds]
    numbered = number_turns(turns, per_session=4)
    reordered = rng.sample(numbered, len(numbered))
    assert score(numbered, TOOLS).to_json() == score(reordered, TOOLS).to_json()


def test_scores_do_not_depend_on_the_predictions_text() -> None:
    one = turn([call("f", a=1)], [call("f", a=1)])
    assert score([one], TOOLS).metrics == score([replace(one, text="", content="")], TOOLS).metrics


@pytest.mark.parametrize("module", ["trainer.eval_metrics", "trainer.tool_calls", "trainer.scoring.compare"])
def test_importing_the_scorer_imports_neither_torch_nor_transformers(module: str) -> None:
    code = f"import sys, {module}; print([m for m in ('torch', 'transformers', 'scipy') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_sessions_with_tools_of_their_own_are_judged_by_their_own_schemas() -> None:
    by_number = tool("f", n={"type": "integer"})
    by_text = tool("f", n={"type": "string", "x-compare": "casefold"})
    hashes = [(tool_hash(one),) for one in (by_number, by_text)]
    said = [call("f", n="ABC")]
    turns = [
        replace(turn([call("f", n="abc")], said, session=session, offered=["f"]), tool_hashes=own)
        for session, own in zip(("number", "text"), hashes, strict=True)
    ]
    scores = score(turns, [by_number, by_text])
    assert [verdict.exact for verdict in scores.verdicts] == [False, True]
    assert scores.metrics["schema_valid_rate"] == 0.5
    with pytest.raises(DataError, match="has the same name"):
        score([replace(turns[0], tool_hashes=())], [by_number, by_text])


def test_a_schema_that_was_edited_since_is_found_by_name() -> None:
    before, after = tool("f", n={"type": "string"}), tool("f", n={"type": "string", "x-compare": "casefold"})
    said = replace(turn([call("f", n="abc")], [call("f", n="ABC")], offered=["f"]), tool_hashes=(tool_hash(before),))
    assert [score([said], [one]).verdicts[0].exact for one in (before, after)] == [False, True]
