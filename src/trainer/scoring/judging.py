"""Judge one evaluated turn: its verdict, and the counts that it adds to every metric. Computes no rate."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

from trainer.scoring.matching import all_paths, match_calls
from trainer.tools.validation import SchemaProblem, ToolSpecs
from trainer.types import Call, ParsedCall, Prediction

GoldDecision = Literal["call", "talk"]
Decision = Literal["call", "talk", "malformed", "error"]
"""What was done in a turn: at least one well-formed call; no attempt at one; only malformed attempts; no answer."""

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
    """What one turn adds up to; the rates are quotients of sums of these. A skipped turn adds nothing."""

    turns: int = 0
    exact_turns: int = 0
    sessions: int = 0
    exact_sessions: int = 0
    talk_turns: int = 0
    hallucinated_turns: int = 0
    call_turns: int = 0
    missed_turns: int = 0
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
    """How one turn came out. `exact` is None for a turn that was skipped: nothing was asked, nothing is known."""

    session_id: str
    turn: int
    gold: GoldDecision
    predicted: Decision | None
    exact: bool | None
    reasons: tuple[Reason, ...]


class JudgedTurn(NamedTuple):
    """A verdict, its counts, the schema problems of its calls, and how tool names were confused."""

    verdict: Verdict
    counts: Counts
    schema_problems: Counter[SchemaProblem]
    confusions: tuple[tuple[str, str], ...]
    exact_names: tuple[str, ...]


def judge(prediction: Prediction, specs: ToolSpecs) -> JudgedTurn:
    """Compare one turn with its gold."""
    if prediction.finish_reason == "skipped_for_length":
        return JudgedTurn(_skipped(prediction), Counts(), Counter(), (), ())
    gold, calls = prediction.gold_calls, well_formed(prediction.calls)
    pairs = match_calls(gold, calls, specs)
    exact_names = tuple(gold[pair.gold].name for pair in pairs if pair.exact)
    named = [call.name for call in prediction.calls if call.name is not None]
    verdict = _verdict(prediction, calls, n_exact=len(exact_names))
    problems = [specs.problems(call) for call in calls if call.name in specs]
    paths = all_paths(gold, calls, pairs, specs=specs)
    is_talk, n_attempts = verdict.gold == "talk", len(prediction.calls)
    counts = Counts(
        turns=1,
        exact_turns=int(bool(verdict.exact)),
        talk_turns=int(is_talk),
        hallucinated_turns=int(is_talk and n_attempts > 0),
        call_turns=int(not is_talk),
        missed_turns=int(not is_talk and n_attempts == 0),
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
    return JudgedTurn(verdict, counts, schema_problems, _confusions(prediction), exact_names)


def well_formed(attempts: Sequence[ParsedCall]) -> list[Call]:
    """The attempts that are calls."""
    return [
        Call(attempt.name, attempt.arguments)
        for attempt in attempts
        if attempt.status == "ok" and attempt.name is not None and attempt.arguments is not None
    ]


def _skipped(prediction: Prediction) -> Verdict:
    return Verdict(
        prediction.session_id,
        prediction.turn,
        gold="call" if prediction.gold_calls else "talk",
        predicted=None,
        exact=None,
        reasons=("skipped_for_length",),
    )


def _verdict(prediction: Prediction, calls: Sequence[Call], *, n_exact: int) -> Verdict:
    reasons = tuple(_reasons(prediction, calls, n_exact))
    decision: Decision = "talk"
    if prediction.finish_reason == "error":
        decision = "error"
    elif prediction.calls:
        decision = "call" if calls else "malformed"
    return Verdict(
        prediction.session_id,
        prediction.turn,
        gold="call" if prediction.gold_calls else "talk",
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
    wanted, given = Counter(call.name for call in gold), Counter(call.name for call in calls)
    n_matched = (wanted & given).total()
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
    """Gold name and predicted name of every call of the turn; equal names are paired first, the rest in order."""
    wanted = Counter(call.name for call in prediction.gold_calls)
    given = Counter(call.name or MALFORMED for call in prediction.calls)
    both = wanted & given
    rest_wanted, rest_given = list((wanted - both).elements()), list((given - both).elements())
    size = max(len(rest_wanted), len(rest_given))
    rest_wanted += [NO_CALL] * (size - len(rest_wanted))
    rest_given += [NO_CALL] * (size - len(rest_given))
    return (*((name, name) for name in both.elements()), *zip(rest_wanted, rest_given, strict=True))
