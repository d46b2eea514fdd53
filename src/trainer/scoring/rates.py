"""The definitions of the metrics: numerator, denominator, which direction is better, and how other tools differ.

Every rate is a ratio of sums over turns, so its interval follows from the sums of each session. A rate with a zero
denominator is None ("there was nothing to judge"), never 0 or 1.
"""

from typing import Literal, NamedTuple

import numpy as np
import numpy.typing as npt

from trainer.scoring.judging import Counts

FloatArray = npt.NDArray[np.float64]


class Rate(NamedTuple):
    """One metric: the sum of the counters of `numerator`, divided by that of the counters of `denominator`."""

    name: str
    numerator: tuple[str, ...]
    denominator: tuple[str, ...]
    better: Literal["higher", "lower"]
    meaning: str


_TURNS = (
    Rate(
        "turn_exact", ("exact_turns",), ("turns",), "higher",
        "Turns with the right decision: on call turns exactly the gold calls with equal arguments, in any order; on "
        "no-call turns no attempt at a call. A failed, truncated or malformed answer is never exact. The headline "
        "metric.",
    ),
    Rate(
        "session_exact", ("exact_sessions",), ("sessions",), "higher",
        "Sessions in which every turn is exact. Sessions with a turn skipped for length are left out.",
    ),
    Rate(
        "hallucination_rate", ("hallucinated_turns",), ("no_call_turns",), "lower",
        "No-call turns (gold makes no call) with any attempt at a call, well formed or not. BFCL counts a garbled "
        "call there as a correct abstention.",
    ),
    Rate(
        "hallucination_rate_answered", ("hallucinated_turns",), ("answered_no_call_turns",), "lower",
        "The same out of the no-call turns that got an answer: a failed request makes no call, but not by merit.",
    ),
    Rate(
        "missed_call_rate", ("missed_turns",), ("call_turns",), "lower",
        "Call turns without any attempt at a call, including failed requests.",
    ),
    Rate(
        "missed_call_rate_answered", ("answered_missed_turns",), ("answered_call_turns",), "lower",
        "The same out of the call turns that got an answer.",
    ),
)  # fmt: skip

_NAMES = (
    Rate(
        "tool_name_precision", ("matched_names",), ("attempts",), "higher",
        "Correct tool names, matched as multisets within each turn, out of all attempts; an attempt without a "
        "readable name matches nothing.",
    ),
    Rate(
        "tool_name_recall", ("matched_names",), ("gold_calls",), "higher",
        "Correct tool names out of all gold calls.",
    ),
    Rate(
        "tool_name_f1", ("matched_names", "matched_names"), ("attempts", "gold_calls"), "higher",
        "Harmonic mean of tool name precision and recall (micro average).",
    ),
)  # fmt: skip

_CALLS = (
    Rate(
        "call_exact_precision", ("exact_calls",), ("attempts",), "higher",
        "Calls equal to a gold call of their turn in name and arguments, matched one to one, out of all attempts.",
    ),
    Rate(
        "call_exact_recall", ("exact_calls",), ("gold_calls",), "higher",
        "Gold calls that were made exactly, out of all gold calls.",
    ),
)  # fmt: skip

_ARGUMENTS = (
    Rate(
        "arguments_parse_rate", ("well_formed",), ("attempts",), "higher",
        "Attempts with a readable name and a readable arguments object, out of all attempts.",
    ),
    Rate(
        "arguments_exact_match", ("exact_calls",), ("gold_calls",), "higher",
        "Calls matched by name whose arguments are equal, out of all gold calls, so a missing call counts against "
        "it. The same number as call_exact_recall, under the name that training logs use.",
    ),
)  # fmt: skip

_DETAILS = (
    Rate(
        "argument_precision", ("shared_paths",), ("predicted_paths",), "higher",
        "JSON paths of the predicted arguments that gold also has, out of all predicted paths.",
    ),
    Rate(
        "argument_recall", ("shared_paths",), ("gold_paths",), "higher",
        "JSON paths of the gold arguments that the prediction also has, out of all gold paths.",
    ),
    Rate(
        "argument_f1", ("shared_paths", "shared_paths"), ("predicted_paths", "gold_paths"), "higher",
        "Harmonic mean of argument precision and recall.",
    ),
    Rate(
        "value_accuracy", ("equal_paths",), ("shared_paths",), "higher",
        "Shared paths with equal values, out of all shared paths.",
    ),
    Rate(
        "schema_valid_rate", ("valid_calls",), ("checked_calls",), "higher",
        "Well-formed calls that their tool's JSON Schema accepts, out of the well-formed calls of tools with a "
        "schema; an undeclared argument is a violation unless the schema allows it.",
    ),
    Rate(
        "unknown_tool_rate", ("unknown_tool",), ("named",), "lower",
        "Attempts that name a tool that the turn did not offer, out of all attempts with a readable name.",
    ),
)  # fmt: skip

RATES: tuple[Rate, ...] = (*_TURNS, *_NAMES, *_CALLS, *_ARGUMENTS, *_DETAILS)

_COLUMN_OF = {field: index for index, field in enumerate(Counts._fields)}


def _weights(side: Literal["numerator", "denominator"]) -> FloatArray:
    matrix = np.zeros((len(Counts._fields), len(RATES)))
    for column, rate in enumerate(RATES):
        for counter in rate.numerator if side == "numerator" else rate.denominator:
            matrix[_COLUMN_OF[counter], column] += 1
    return matrix


_NUMERATORS, _DENOMINATORS = _weights("numerator"), _weights("denominator")


def rates(sums: FloatArray) -> FloatArray:
    """The rates of summed counts; NaN if the denominator is zero.

    sums     # float64 [..., counters]
    returns  # float64 [..., rates]
    """
    return _divide(*rate_terms(sums))


def rate_terms(sums: FloatArray) -> tuple[FloatArray, FloatArray]:
    """The numerators and denominators of the rates.

    sums     # float64 [..., counters]
    returns  # two float64 [..., rates]
    """
    return sums @ _NUMERATORS, sums @ _DENOMINATORS


def macro_f1(matched: FloatArray, occurring: FloatArray) -> FloatArray:
    """The mean over tools of 2 × matched names ÷ (gold calls + attempts); NaN if no tool occurs.

    matched, occurring  # float64 [..., tools]
    returns             # float64 [...]
    """
    f1 = _divide(2 * matched, occurring)
    return _divide(np.nansum(f1, axis=-1), (~np.isnan(f1)).sum(axis=-1).astype(np.float64))


def _divide(numerator: FloatArray, denominator: FloatArray) -> FloatArray:
    with np.errstate(invalid="ignore", divide="ignore"):
        result: FloatArray = np.divide(numerator, denominator)
    return result
