"""Decide from judged turns whether more data or more steps would help, in plain sentences. Trains nothing.

More data: the model of all sessions against that of the next smaller share. More steps: the last evaluation inside the
run of all sessions against the one before. Both are paired on the same test turns (`trainer.scoring.compare`).
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal, NamedTuple

from trainer.learning_curve.trend import JudgedShare, Trend, doubling_trend
from trainer.scoring.compare import HEADLINE, Comparison, Difference, compare_judged
from trainer.scoring.permutation import FEWEST_SESSIONS
from trainer.scoring.score import judge_all
from trainer.types import Prediction, Tool

WORTH = 0.02
"""The smallest gain in `turn_exact` that counts as help, where help has to be excluded."""

MORE_EVALUATIONS = (
    "set train.eval_strategy=epoch with train.num_train_epochs of 2 or more, or train.eval_strategy=steps with "
    "train.eval_steps of at most half of the steps"
)
"""What gives a run a second evaluation."""

Answer = Literal["yes", "no", "undecided", "unknown"]


class ShareTurns(NamedTuple):
    """A share in percent, its training sessions, its optimizer steps, and the answers of its final model."""

    percent: int
    n_sessions: int
    n_steps: int
    predictions: Sequence[Prediction]


class StepTurns(NamedTuple):
    """The answers at an evaluation during the run of all sessions."""

    step: int
    predictions: Sequence[Prediction]


@dataclass(frozen=True, slots=True)
class Finding:
    """Whether more of something would help, and why. `unknown` if nothing was measured."""

    answer: Answer
    sentence: str
    difference: Difference | None = None


@dataclass(frozen=True, slots=True)
class Verdict:
    """The conclusion of a curve. `trend` is None with fewer than two test sessions."""

    conclusion: str
    data: Finding
    steps: Finding
    trend: Trend | None
    notes: tuple[str, ...]

    def lines(self) -> list[str]:
        """Return everything as sentences, the conclusion first."""
        trend = () if self.trend is None else (_trend_sentence(self.trend),)
        return [self.conclusion, self.data.sentence, *trend, self.steps.sentence, *self.notes]

    def to_json(self) -> dict[str, Any]:
        """Return everything as JSON values."""
        return asdict(self)


def judge_curve(shares: Sequence[ShareTurns], evaluations: Sequence[StepTurns], tools: Sequence[Tool]) -> Verdict:
    """Return the verdict on the shares, the smallest first, and on the evaluations of the last one, by step.

    Raises `DataError` if two sides that are compared share no turn.
    """
    judged = [judge_all(share.predictions, tools) for share in shares]
    before, whole = shares[-2:]
    compared = compare_judged(before.predictions, whole.predictions, (judged[-2], judged[-1]))
    trend = doubling_trend([JudgedShare(share.n_sessions, turns) for share, turns in zip(shares, judged, strict=True)])
    data = _data_finding(before, whole, compared, trend)
    steps = _steps_finding(evaluations, tools)
    n = int(compared.first.metrics["n_sessions"] or 0)
    notes = _notes(data, steps, before, whole)
    return Verdict(_conclusion(data.answer, steps.answer, n), data, steps, trend, tuple(notes))


def _data_finding(before: ShareTurns, whole: ShareTurns, compared: Comparison, trend: Trend | None) -> Finding:
    row = compared.differences[HEADLINE]
    from_trend = trend is not None and row.p_value is not None and trend.interval[0] > 0 and row.difference >= WORTH
    answer = _answer(compared, rises=row.verdict == "better" or from_trend)
    change = f"With {whole.n_sessions} sessions instead of {before.n_sessions}, {_change(row)}"
    why = "" if answer != "yes" or row.verdict == "better" else "; with the smaller shares, the rise is beyond chance"
    return Finding(answer, f"Data: {change}{why}. {_meaning(answer, compared)}".strip(), row)


def _steps_finding(evaluations: Sequence[StepTurns], tools: Sequence[Tool]) -> Finding:
    if len(evaluations) < 2:
        return Finding(
            "unknown",
            "Steps: the run of all sessions was evaluated once, so nothing shows what its last steps gained. For a new "
            f"curve, {MORE_EVALUATIONS}.",
        )
    before, last = evaluations[-2:]
    judged = (judge_all(before.predictions, tools), judge_all(last.predictions, tools))
    compared = compare_judged(before.predictions, last.predictions, judged)
    row = compared.differences[HEADLINE]
    answer = _answer(compared, rises=row.verdict == "better")
    change = f"from step {before.step} to step {last.step} of the run of all sessions, {_change(row)}"
    return Finding(answer, f"Steps: {change}. {_meaning(answer, compared)}".strip(), row)


def _answer(compared: Comparison, *, rises: bool) -> Answer:
    row = compared.differences[HEADLINE]
    if row.interval is None or row.p_value is None:
        return "undecided"
    if min(row.interval[1], _room(compared)) < WORTH:
        return "no"
    return "yes" if rises else "undecided"


def _room(compared: Comparison) -> float:
    """The most that can be gained: the upper bound of the share of wrong turns of the second side."""
    interval = compared.second.intervals.get(HEADLINE)
    return 1.0 if interval is None else 1 - interval[0]


def _change(row: Difference) -> str:
    details = [] if row.interval is None else [f"95% interval {row.interval[0]:+.3f} to {row.interval[1]:+.3f}"]
    details += [] if row.p_value is None else [f"p = {row.p_value:.3f}"]
    shown = f" ({', '.join(details)})" if details else ""
    return f"{HEADLINE} goes from {row.first:.3f} to {row.second:.3f}, {row.difference:+.3f}{shown}"


def _meaning(answer: Answer, compared: Comparison) -> str:
    row = compared.differences[HEADLINE]
    if answer == "no" and row.interval is not None and row.interval[1] >= WORTH:
        return f"At most {_room(compared):.1%} of turns are still wrong, so there is hardly anything left to gain."
    if answer != "undecided":
        return ""
    if row.detectable is None:
        return f"A verdict needs at least {FEWEST_SESSIONS} test sessions."
    return f"These test sessions would show a difference of {row.detectable:.3f} or more in most comparisons."


def _trend_sentence(trend: Trend) -> str:
    low, high = trend.interval
    return (
        f"If errors go on as they did, twice as many sessions ({trend.n_sessions}) change {HEADLINE} by "
        f"{trend.gain:+.3f} (95% interval {low:+.3f} to {high:+.3f})."
    )


def _conclusion(data: Answer, steps: Answer, n_test_sessions: int) -> str:
    undecided = f"is not decidable with {n_test_sessions} test sessions"
    if data == steps == "yes":
        return "More data and more steps would help."
    if data == steps == "no":
        return f"Neither more data nor more steps would help by {WORTH:.3f} or more."
    if data == steps == "undecided":
        return f"Whether more data or more steps would help {undecided}."
    clauses: dict[Answer, str] = {
        "yes": "more {} would help",
        "no": f"more {{}} would not help by {WORTH:.3f} or more",
        "undecided": f"whether more {{}} would help {undecided}",
        "unknown": "whether more {} would help was not measured",
    }
    sentence = f"{clauses[data].format('data')}; {clauses[steps].format('steps')}."
    return sentence[0].upper() + sentence[1:]


def _notes(data: Finding, steps: Finding, before: ShareTurns, whole: ShareTurns) -> list[str]:
    notes = []
    if data.answer == "yes" and steps.answer != "no" and whole.n_steps > before.n_steps:
        notes.append(
            f"The run of all sessions also takes more steps ({whole.n_steps} instead of {before.n_steps}), so a part "
            "of the gain may come from these. More epochs cost no sessions: try them first."
        )
    elif data.answer != "yes" and steps.answer == "yes":
        notes.append("More epochs cost no sessions: raise train.num_train_epochs or train.max_steps.")
    if "undecided" in (data.answer, steps.answer):
        notes.append("More test sessions (data.eval_split, data.n_tool_sessions_eval) show smaller differences.")
    return notes
