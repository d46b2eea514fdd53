"""The bias of a call is chosen by its cost, is off where it does not help, and follows the stated trade-off."""

import numpy as np
import pytest

from trainer.calibration.fit import Decision, decisions, fit_bias, wrong_rates
from trainer.types import AcceptedCall, Call, CallMargins, ToolEvalExample


def sessions(*, n: int = 12, calls: float, others: float, spread: float = 1.0, seed: int = 0) -> list[Decision]:
    """Sessions of four call turns and six others, with normal margins around the two means."""
    draw = np.random.default_rng(seed)
    return [
        Decision(f"s{session}", needs_call, float(draw.normal(calls if needs_call else others, spread)))
        for session in range(n)
        for needs_call in [True] * 4 + [False] * 6
    ]


def test_a_model_that_calls_too_often_gets_a_negative_bias_between_its_two_kinds_of_turns() -> None:
    turns = sessions(calls=9.0, others=3.0)
    fit = fit_bias(turns, tradeoff=1.0)
    assert fit.note == "helps"
    assert -8.0 < fit.bias < -5.0
    assert fit.before == (0.0, 1.0) or fit.before.hallucinated == pytest.approx(1.0, abs=0.05)
    assert fit.after == (0.0, 0.0)
    saved_share = sum(not t.needs_call and t.margin > 0 for t in turns) / sum(not t.needs_call for t in turns)
    assert fit.saved == pytest.approx(saved_share * sum(t.needs_call for t in turns), abs=2)


def test_a_model_that_misses_calls_gets_a_positive_bias() -> None:
    fit = fit_bias(sessions(calls=-3.0, others=-9.0), tradeoff=1.0)
    assert 5.0 < fit.bias < 8.0
    assert fit.after == (0.0, 0.0)


def test_a_bias_does_not_put_openings_into_calls() -> None:
    """Each call has a place where an opening is only three logits away, as before a closing tag."""
    turns = sessions(calls=-3.0, others=-9.0)
    fragile = [turn._replace(stray=-3.0 - 0.01 * n) if turn.needs_call else turn for n, turn in enumerate(turns)]
    assert fit_bias(turns, tradeoff=1.0).bias > 5.0
    assert fit_bias(fragile, tradeoff=1.0).bias < 4.5
    assert wrong_rates(fragile, 8.0).missed == 1.0
    assert wrong_rates(turns, 8.0).missed == 0.0


@pytest.mark.parametrize("seed", range(8))
def test_a_model_that_decides_well_keeps_its_decisions(seed: int) -> None:
    fit = fit_bias(sessions(calls=8.0, others=-8.0, seed=seed), tradeoff=1.0)
    assert (fit.bias, fit.note, fit.saved) == (0.0, "does not help", 0.0)
    assert fit.before == fit.after


def test_a_bias_that_pays_only_on_the_sessions_it_was_chosen_on_is_not_used() -> None:
    """One session has all the wrong turns: without it, nothing points to a bias; alone, it cannot vouch for itself."""
    turns = sessions(calls=8.0, others=-8.0)
    odd = [turn._replace(margin=-0.5) if turn.session_id == "s3" and turn.needs_call else turn for turn in turns]
    assert wrong_rates(odd, 1.0) == (0.0, 0.0)
    assert wrong_rates(odd, 0.0).missed
    fit = fit_bias(odd, tradeoff=1.0)
    assert fit.saved <= 0
    assert fit.bias == 0.0


def test_the_tradeoff_moves_the_bias_and_the_rates_in_its_direction() -> None:
    turns = sessions(n=30, calls=2.0, others=1.0, spread=2.0)
    careful, even, eager = (fit_bias(turns, tradeoff=value) for value in (8.0, 1.0, 0.1))
    assert careful.bias < even.bias < eager.bias
    for first, second in ((careful, even), (even, eager)):
        assert first.after.missed is not None
        assert second.after.missed is not None
        assert first.after.missed >= second.after.missed
        assert (first.after.hallucinated or 0.0) <= (second.after.hallucinated or 0.0)


def test_the_mix_of_turns_does_not_move_the_bias() -> None:
    turns = sessions(n=30, calls=2.0, others=1.0, spread=2.0)
    others = [turn for turn in turns if not turn.needs_call]
    assert fit_bias([*turns, *others, *others], tradeoff=1.0).bias == fit_bias(turns, tradeoff=1.0).bias != 0.0


@pytest.mark.parametrize(
    "turns",
    [
        [],
        sessions(n=4, calls=9.0, others=3.0),
        [turn for turn in sessions(calls=9.0, others=3.0) if turn.needs_call],
        [turn for turn in sessions(calls=9.0, others=3.0) if not turn.needs_call],
    ],
    ids=["none", "four sessions", "only calls", "no calls"],
)
def test_nothing_is_fitted_to_too_few_turns(turns: list[Decision]) -> None:
    fit = fit_bias(turns, tradeoff=1.0)
    assert (fit.bias, fit.note, fit.n_turns) == (0.0, "too few turns", len(turns))
    assert bool(fit.curve) == bool(turns)


def test_the_curve_goes_from_all_missed_to_all_hallucinated_and_holds_the_found_rates() -> None:
    fit = fit_bias(sessions(calls=2.0, others=-2.0), tradeoff=1.0)
    assert [point.bias for point in fit.curve] == [n / 2 for n in range(-20, 21)]
    missed = [point.missed or 0.0 for point in fit.curve]
    hallucinated = [point.hallucinated or 0.0 for point in fit.curve]
    assert (missed[0], hallucinated[0], missed[-1], hallucinated[-1]) == (1.0, 0.0, 0.0, 1.0)
    assert missed == sorted(missed, reverse=True)
    assert hallucinated == sorted(hallucinated)
    assert (missed[20], hallucinated[20]) == fit.before


def test_the_order_of_the_turns_does_not_matter() -> None:
    turns = sessions(calls=5.0, others=1.0, spread=3.0)
    assert fit_bias(turns, tradeoff=2.0).bias == fit_bias(turns[::-1], tradeoff=2.0).bias


def test_turns_in_which_both_decisions_are_right_are_left_out() -> None:
    call = Call("f", {})
    accepted = AcceptedCall("f", {}, values={}, optional=())

    def turn(name: str, gold: tuple[Call, ...], *alternatives: tuple[AcceptedCall, ...]) -> ToolEvalExample:
        return ToolEvalExample(name, 0, (), (), "", gold, (1,), (2,), alternatives=alternatives)

    examples = [
        turn("calls", (call,)), turn("either", (call,), ()), turn("prose", ()), turn("may call", (), (accepted,)),
        turn("other call", (call,), (accepted,)), turn("skipped", ()),
    ]  # fmt: skip
    found = decisions(examples, [*map(CallMargins, (1.0, 2.0, 3.0, 4.0, 5.0)), None])
    assert found == [Decision("calls", True, 1.0), Decision("prose", False, 3.0), Decision("other call", True, 5.0)]
