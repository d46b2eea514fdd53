"""Judge one evaluated turn: its verdict, and what it adds to the counts of every metric. Computes no rates."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal, NamedTuple

from trainer.scoring.matching import Pair, all_paths, match_calls
from trainer.tools.validation import SchemaProblem, ToolSpecs
from trainer.types import Call, ParsedCall, Prediction

GoldDecision = Literal["call", "no_call"]
Decision = Literal["call", "no_call", "malformed", "error"]
"""The decision of a turn: at least one well-formed call; no attempt at a call; only malformed attempts; no answer."""

Reason = Literal[
    "skipped_for_length",
    "error",
    "truncated",
    "hallucinated_call",
    "missed_call",
    "malformed_call",
    "wrong_tool",
    "too_few_calls",
    "too_many_calls",
    "wrong_arguments",
]
"""Why a turn is not exact."""

MALFORMED = "(malformed)"
NO_CALL = "(no call)"


class Counts(NamedTuple):
    """The counts of one turn; the rates are ratios of their sums. A skipped turn adds nothing."""

    turns: int = 0
    exact_turns: int = 0
    sessions: int = 0
    exact_sessions: int = 0
    no_call_turns: int = 0
    answered_no_call_turns: int = 0
    hallucinated_turns: int = 0
    call_turns: int = 0
    answered_call_turns: int = 0
    missed_turns: int = 0
    answered_missed_turns: int = 0
    gold_calls: int = 0
    attempts: int = 0
    well_formed: int = 0
    named: int = 0
    unknown_tool: int = 0
    matched_names: int = 0
    exact_calls: int = 0
    gold_paths: int = 0
    predicted_paths: int = 0
    shared_paths: int = 0
    equal_paths: int = 0
    checked_calls: int = 0
    valid_calls: int = 0


@dataclass(frozen=True, slots=True)
class Verdict:
    """The verdict on one turn. `exact` is None for a skipped turn, because the model was not asked."""

    session_id: str
    turn: int
    gold: GoldDecision
    predicted: Decision | None
    exact: bool | None
    reasons: tuple[Reason, ...]


class JudgedTurn(NamedTuple):
    """A verdict, its counts, the schema problems of its calls, and its pairs of gold and predicted tool names.

    `answer` are the calls that it was compared with: gold's, or those of the alternative that fits best. `pairs` index
    them and the well-formed calls.
    """

    verdict: Verdict
    counts: Counts
    schema_problems: Counter[SchemaProblem]
    confusions: tuple[tuple[str, str], ...]
    exact_names: tuple[str, ...]
    answer: tuple[Call, ...] = ()
    pairs: tuple[Pair, ...] = ()


def judge(prediction: Prediction, specs: ToolSpecs) -> JudgedTurn:
    """Compare one turn with its gold, or with the alternative that fits it best, as if that were its gold.

    An exact answer fits best, then the one with the largest share of equal calls, names and JSON paths. Gold itself
    wins a tie, and alone decides whether this is a call turn, so the denominators are the same for all models.
    """
    if prediction.finish_reason == "skipped_for_length":
        return JudgedTurn(_skipped(prediction), Counts(), Counter(), (), ())
    answers = (prediction.gold_calls, *prediction.alternatives)
    is_call_turn = bool(prediction.gold_calls)
    judged = (_judge(replace(prediction, gold_calls=gold), specs, is_call_turn=is_call_turn) for gold in answers)
    return max(judged, key=_fit)


def _fit(judged: JudgedTurn) -> tuple[bool, float]:
    counts = judged.counts
    n_calls, n_paths = counts.gold_calls + counts.attempts, counts.gold_paths + counts.predicted_paths
    same = counts.exact_calls + counts.matched_names + counts.equal_paths
    return bool(judged.verdict.exact), 2 * same / (2 * n_calls + n_paths) if n_calls else 1.0


def _judge(prediction: Prediction, specs: ToolSpecs, *, is_call_turn: bool) -> JudgedTurn:
    """Compare a turn with one answer; `is_call_turn` says whether its own gold makes a call."""
    gold, calls = prediction.gold_calls, well_formed(prediction.calls)
    pairs = match_calls(gold, calls, specs)
    exact_names = tuple(gold[pair.gold].name for pair in pairs if pair.exact)
    named = [call.name for call in prediction.calls if call.name is not None]
    verdict = _verdict(prediction, calls, n_exact=len(exact_names), is_call_turn=is_call_turn)
    problems = [specs.problems(call) for call in calls if call.name in specs]
    paths = all_paths(gold, calls, pairs, specs=specs)
    is_answered, n_attempts = prediction.finish_reason != "error", len(prediction.calls)
    is_missed = is_call_turn and bool(gold) and n_attempts == 0
    counts = Counts(
        turns=1,
        exact_turns=int(bool(verdict.exact)),
        no_call_turns=int(not is_call_turn),
        answered_no_call_turns=int(not is_call_turn and is_answered),
        hallucinated_turns=int(not is_call_turn and not gold and n_attempts > 0),
        call_turns=int(is_call_turn),
        answered_call_turns=int(is_call_turn and is_answered),
        missed_turns=int(is_missed),
        answered_missed_turns=int(is_missed and is_answered),
        gold_calls=len(gold),
        attempts=n_attempts,
        well_formed=len(calls),
        named=len(named),
        unknown_tool=sum(name not in prediction.tool_names for name in named),
        matched_names=(Counter(call.name for call in gold) & Counter(named)).total(),
        exact_calls=len(exact_names),
        gold_paths=paths.gold,
        predicted_paths=paths.predicted,
        shared_paths=paths.shared,
        equal_paths=paths.equal,
        checked_calls=len(problems),
        valid_calls=sum(not found for found in problems),
    )
    schema_problems = Counter(problem for found in problems for problem in found)
    confusions = _confusions(prediction)
    return JudgedTurn(verdict, counts, schema_problems, confusions, exact_names, tuple(gold), tuple(pairs))


def well_formed(attempts: Sequence[ParsedCall]) -> list[Call]:
    """The attempts that are well-formed calls."""
    return [
        Call(attempt.name, attempt.arguments)
        for attempt in attempts
        if attempt.status == "ok" and attempt.name is not None and attempt.arguments is not None
    ]


def _skipped(prediction: Prediction) -> Verdict:
    return Verdict(
        prediction.session_id,
        prediction.turn,
        gold="call" if prediction.gold_calls else "no_call",
        predicted=None,
        exact=None,
        reasons=("skipped_for_length",),
    )


def _verdict(prediction: Prediction, calls: Sequence[Call], *, n_exact: int, is_call_turn: bool) -> Verdict:
    reasons = tuple(_reasons(prediction, calls, n_exact))
    decision: Decision = "no_call"
    if prediction.finish_reason == "error":
        decision = "error"
    elif prediction.calls:
        decision = "call" if calls else "malformed"
    return Verdict(
        prediction.session_id,
        prediction.turn,
        gold="call" if is_call_turn else "no_call",
        predicted=decision,
        exact=not reasons,
        reasons=reasons,
    )


def _reasons(prediction: Prediction, calls: Sequence[Call], n_exact: int) -> list[Reason]:
    gold, attempts = prediction.gold_calls, prediction.calls
    reasons: list[Reason] = []
    if prediction.finish_reason == "error":
        reasons.append("error")
    if prediction.finish_reason == "length":
        reasons.append("truncated")
    if attempts and not gold:
        reasons.append("hallucinated_call")
    if gold and not attempts and prediction.finish_reason != "error":
        reasons.append("missed_call")
    if len(calls) < len(attempts):
        reasons.append("malformed_call")
    if gold and attempts:
        reasons.extend(_call_reasons(gold, calls, n_exact))
    return reasons


def _call_reasons(gold: Sequence[Call], calls: Sequence[Call], n_exact: int) -> list[Reason]:
    n_matched = (Counter(call.name for call in gold) & Counter(call.name for call in calls)).total()
    reasons: list[Reason] = []
    if n_matched < min(len(gold), len(calls)):
        reasons.append("wrong_tool")
    if len(calls) < len(gold):
        reasons.append("too_few_calls")
    if len(calls) > len(gold):
        reasons.append("too_many_calls")
    if n_exact < n_matched:
        reasons.append("wrong_arguments")
    return reasons


def _confusions(prediction: Prediction) -> tuple[tuple[str, str], ...]:
    """The gold and predicted name of every call of the turn; equal names are paired first, the others in order."""
    gold = Counter(call.name for call in prediction.gold_calls)
    predicted = Counter(call.name or MALFORMED for call in prediction.calls)
    both = gold & predicted
    other_gold, other_predicted = list((gold - both).elements()), list((predicted - both).elements())
    size = max(len(other_gold), len(other_predicted))
    other_gold += [NO_CALL] * (size - len(other_gold))
    other_predicted += [NO_CALL] * (size - len(other_predicted))
    return (*((name, name) for name in both.elements()), *zip(other_gold, other_predicted, strict=True))
