"""Choose the bias of a call from margins: how many calls it makes a model miss, and how many it makes it hallucinate.

A margin is the logit of a call's first token minus the best other logit. With a bias on the tokens that begin a call,
greedy decoding calls if margin + bias > 0, as long as the answer up to there is gold's. A bias that is too large also
breaks calls, because it puts an opening into them. Runs no model.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np
import numpy.typing as npt

from trainer.types import CallMargins, ToolEvalExample

FloatArray = npt.NDArray[np.float64]

LARGEST_BIAS = 10.0
"""The largest bias that is considered, in both directions. A larger one would overrule the model in every answer."""

FEWEST_SESSIONS = 5
FEWEST_TURNS = 8
"""With fewer sessions, or fewer turns with or without a call, nothing is fitted."""

_STEP = 0.1
_CURVE_STEP = 5  # every half logit

Note = Literal["helps", "does not help", "too few turns", "no opening token"]
"""Why the bias is what it is. It is 0 unless it helps."""


class Decision(NamedTuple):
    """The decision of one turn: its session, whether gold makes a call, and the margins (logits); see `CallMargins`."""

    session_id: str
    needs_call: bool
    margin: float
    stray: float = -math.inf


class WrongRates(NamedTuple):
    """The share of call turns whose call is missed or broken, and of no-call turns with one; None if there are none."""

    missed: float | None
    hallucinated: float | None


class CurvePoint(NamedTuple):
    """What a bias would do."""

    bias: float
    missed: float | None
    hallucinated: float | None


@dataclass(frozen=True, slots=True)
class Fit:
    """A chosen bias and what it rests on. `before` and `after` are the rates without and with it, by the margins.

    `saved` is the cost that it saves in cross-validation, as a number of missed calls.
    """

    bias: float
    note: Note
    n_sessions: int
    n_turns: int
    saved: float
    before: WrongRates
    after: WrongRates
    curve: tuple[CurvePoint, ...]


def decisions(examples: Sequence[ToolEvalExample], margins: Sequence[CallMargins | None]) -> list[Decision]:
    """Return the decisions of turns whose margins are known, in order.

    Turns are left out if both decisions are right, because one of their alternatives makes the other one.
    """
    return [
        Decision(example.session_id, bool(example.gold_calls), *found)
        for example, found in zip(examples, margins, strict=True)
        if found is not None and all(bool(calls) == bool(example.gold_calls) for calls in example.alternatives)
    ]


def fit_bias(turns: Sequence[Decision], *, tradeoff: float) -> Fit:
    """Choose the bias with the lowest expected cost: missed calls plus `tradeoff` times hallucinated calls, as rates.

    Both are shares of their kind of turns, so the choice does not depend on how many of either kind the held-out
    sessions happen to have. A broken call counts as missed. Counting wrong turns alone
    would put the bias close to single turns. So a turn counts with the probability of its wrong decision at temperature
    1 between the call and its best rival, which is a logistic function of margin + bias.
    The bias is a multiple of 0.1 between -10 and 10; of equal ones, the smallest is chosen.

    The bias is 0 unless choosing it that way helps: each session is judged, greedily, with the bias chosen on the other
    sessions, and all of them together must cost less than without a bias. It is also 0 with fewer than 5 sessions or
    fewer than 8 turns of either kind. In simulations with 5 to 40 sessions this test let no good model get notably
    worse, and a significance test would have missed most of what a biased one can gain.
    """
    counted = _Turns(turns)
    bias, saved, note = 0.0, 0.0, "too few turns"
    if counted.are_enough:
        bias, saved = _chosen(counted, tradeoff)
        note = "helps" if bias else "does not help"
    return Fit(
        bias=bias,
        note=note,  # type: ignore[arg-type]
        n_sessions=counted.n_sessions,
        n_turns=len(turns),
        saved=saved,
        before=wrong_rates(turns, 0.0),
        after=wrong_rates(turns, bias),
        curve=curve(turns),
    )


def wrong_rates(turns: Sequence[Decision], bias: float) -> WrongRates:
    """Return the rates with a bias, by the margins.

    >>> turns = [Decision("a", True, -1.0), Decision("a", True, 2.0), Decision("b", False, -3.0)]
    >>> wrong_rates(turns, 0.0)
    WrongRates(missed=0.5, hallucinated=0.0)
    >>> wrong_rates(turns, 4.0)
    WrongRates(missed=0.0, hallucinated=1.0)
    """
    missed = [turn.margin + bias <= 0 or turn.stray + bias > 0 for turn in turns if turn.needs_call]
    hallucinated = [turn.margin + bias > 0 for turn in turns if not turn.needs_call]
    return WrongRates(_share(missed), _share(hallucinated))


def curve(turns: Sequence[Decision]) -> tuple[CurvePoint, ...]:
    """Return the rates for every half logit of bias; empty without turns."""
    biases = [round(float(bias), 1) for bias in _grid()[::_CURVE_STEP]]
    return tuple(CurvePoint(bias, *wrong_rates(turns, bias)) for bias in biases) if turns else ()


def _share(wrong: Sequence[bool]) -> float | None:
    return sum(wrong) / len(wrong) if wrong else None


def _grid() -> FloatArray:
    """All biases, float64 [biases]."""
    n_steps = round(LARGEST_BIAS / _STEP)
    return np.round(np.arange(-n_steps, n_steps + 1) * _STEP, 1)


class _Turns:
    """Turns as arrays. `session` numbers the sessions from 0."""

    def __init__(self, turns: Sequence[Decision]) -> None:
        names = {name: number for number, name in enumerate(dict.fromkeys(turn.session_id for turn in turns))}
        self.n_sessions = len(names)
        self.session = np.array([names[turn.session_id] for turn in turns], dtype=np.int64)  # [turns]
        self.needs_call = np.array([turn.needs_call for turn in turns], dtype=bool)  # [turns]
        self.margin = np.array([turn.margin for turn in turns], dtype=np.float64)  # [turns]
        self.stray = np.array([turn.stray for turn in turns], dtype=np.float64)  # [turns]

    @property
    def are_enough(self) -> bool:
        """Whether a bias can be fitted."""
        n_calls = int(self.needs_call.sum())
        fewest = min(n_calls, len(self.needs_call) - n_calls)
        return self.n_sessions >= FEWEST_SESSIONS and fewest >= FEWEST_TURNS


def _chosen(turns: _Turns, tradeoff: float) -> tuple[float, float]:
    """The bias, 0 if it does not help, and the cost that it saves in cross-validation."""
    grid = _grid()
    expected = _session_costs(turns, tradeoff, grid, greedy=False)
    greedy = _session_costs(turns, tradeoff, grid, greedy=True)
    others = np.array([_cheapest(expected.sum(axis=0) - own) for own in expected])
    zero = len(grid) // 2
    saved = float(greedy[:, zero].sum() - greedy[np.arange(turns.n_sessions), others].sum())
    bias = float(grid[_cheapest(expected.sum(axis=0))]) if saved > 1e-9 else 0.0
    return bias, saved


def _cheapest(costs: FloatArray) -> int:
    """The index of the lowest cost, of equal ones that of the bias nearest to 0. costs  # float64 [biases]"""
    cheapest = np.flatnonzero(costs <= costs.min() + 1e-9)
    return int(min(cheapest, key=lambda index: abs(index - len(costs) // 2)))


def _session_costs(turns: _Turns, tradeoff: float, grid: FloatArray, *, greedy: bool) -> FloatArray:
    """The cost of every session at every bias, float64 [sessions, biases]; of greedy or of sampled decisions."""
    costs = np.zeros((turns.n_sessions, len(grid)))
    n_calls = int(turns.needs_call.sum())
    worth = np.where(turns.needs_call, 1.0, tradeoff * n_calls / max(1, len(turns.needs_call) - n_calls))
    for column, bias in enumerate(grid):
        called, broken = (_above_zero(margin + bias, greedy=greedy) for margin in (turns.margin, turns.stray))
        wrong = np.where(turns.needs_call, 1 - called * (1 - broken), called)
        costs[:, column] = np.bincount(turns.session, weights=worth * wrong, minlength=turns.n_sessions)
    return costs


def _above_zero(margins: FloatArray, *, greedy: bool) -> FloatArray:
    """Whether each margin is above zero, or the probability of its side at temperature 1."""
    if greedy:
        return (margins > 0).astype(np.float64)
    return 1 / (1 + np.exp(-np.clip(margins, -50, 50)))
