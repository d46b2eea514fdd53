"""Scenes about prices: a car insurance and a household insurance, at once, in steps, and changed afterwards."""

from typing import Any

from .cast import draw_postcode
from .dialogue import InsuranceDialogue
from .world import DEDUCTIBLES, FULL_COVERAGE_YEARS, MOST_INSURED

MOTOR = "quote_motor"
HOUSEHOLD = "quote_household"
COVERAGES = ("liability", "partial", "full")
EXTRAS = ("theft", "water", "glass", "bicycle")
_ERROR_RATE = 0.12


def motor(dialogue: InsuranceDialogue) -> None:
    """Ask for the price of a car insurance; then sometimes for another coverage or for the price of a month."""
    rng = dialogue.rng
    is_too_old = dialogue.chance(_ERROR_RATE)
    newest_old = dialogue.now.year - FULL_COVERAGE_YEARS - 1
    year = rng.randrange(newest_old - 4, newest_old + 1) if is_too_old else dialogue.now.year - rng.randrange(1, 11)
    coverage, wrong = ("full", "partial") if is_too_old else rng.sample(COVERAGES, 2)
    age = rng.randrange(19, 80)
    driver = {"age": age, "claim_free_years": rng.randrange(2, min(30, age - 15))}
    arguments: dict[str, Any] = {
        "driver": driver,
        "vehicle": {"model": rng.choice(dialogue.cast.cars), "year": year},
        "coverage": coverage,
    }
    words = {"car": arguments["vehicle"]["model"], "year": year, "age": age, "free": driver["claim_free_years"]}
    if not is_too_old and dialogue.chance(0.18):
        _two_coverages(dialogue, arguments, words)
        return
    extras, words["extras"] = _deductible(dialogue, can_fail=not is_too_old)
    _say_motor(dialogue, {**words, "coverage": dialogue.voice.corrected(coverage, wrong)})
    arguments |= extras
    (result,) = dialogue.call((MOTOR, arguments))
    if is_too_old:
        arguments["coverage"] = rng.choice(("partial", "liability"))
        dialogue.user("fix_coverage", coverage=arguments["coverage"])
        (result,) = dialogue.call((MOTOR, arguments))
    elif "error" in result:
        arguments["deductible"] = rng.choice(DEDUCTIBLES)
        dialogue.user("fix_deductible", amount=arguments["deductible"])
        (result,) = dialogue.call((MOTOR, arguments))
    if dialogue.chance(0.35):
        dialogue.user("fact_monthly")
        dialogue.state("monthly", result)
    elif not is_too_old and dialogue.chance(0.35):
        arguments["coverage"] = rng.choice([c for c in COVERAGES if c != coverage])
        dialogue.user("refine_coverage", coverage=arguments["coverage"])
        dialogue.call((MOTOR, arguments))


def _say_motor(dialogue: InsuranceDialogue, words: dict[str, Any]) -> None:
    kind = dialogue.rng.choice(("all", "all", "all", "open", "car", "no coverage"))
    if kind == "all":
        dialogue.user("motor_all", **words)
    elif kind == "open":
        dialogue.user("motor_open")
        dialogue.ask_for("age", "claim_free_years", "model", "year", "coverage")
        dialogue.user("give_motor", **words)
    elif kind == "car":
        dialogue.user("motor_car", **words)
        dialogue.ask_for("age", "claim_free_years", "coverage")
        dialogue.user("give_driver", **words)
    else:
        dialogue.user("motor_no_coverage", **words)
        dialogue.ask_for("coverage")
        dialogue.user("give_coverage", **words)


def _two_coverages(dialogue: InsuranceDialogue, arguments: dict[str, Any], words: dict[str, Any]) -> None:
    first, second = dialogue.rng.sample(COVERAGES, 2)
    dialogue.user("motor_two", **words, coverage=first, other=second)
    dialogue.call(*((MOTOR, {**arguments, "coverage": coverage}) for coverage in (first, second)))


def _deductible(dialogue: InsuranceDialogue, *, can_fail: bool) -> tuple[dict[str, int], str]:
    """Choose an optional argument and the words for it, or none."""
    if not dialogue.chance(0.35):
        return {}, ""
    is_impossible = can_fail and dialogue.chance(0.3)
    amount = dialogue.rng.choice((400, 700, 800, 1500) if is_impossible else DEDUCTIBLES)
    return {"deductible": amount}, dialogue.voice.pick("extras_deductible").format(amount=amount)


def household(dialogue: InsuranceDialogue) -> None:
    """Ask for the price of a household insurance; then sometimes for another sum or for the price of a month."""
    rng = dialogue.rng
    is_too_high = dialogue.chance(_ERROR_RATE)
    low, high = (MOST_INSURED // 1000 + 10, 400) if is_too_high else (2, MOST_INSURED // 1000)
    total, wrong = (1000 * n for n in rng.sample(range(low, high, 2), 2))
    home = {"kind": rng.choice(("apartment", "house")), "rooms": rng.randrange(2, 9), "postcode": draw_postcode(rng)}
    arguments: dict[str, Any] = {"home": home, "sum_insured": total}
    a_kind = f"{'an' if home['kind'] == 'apartment' else 'a'} {home['kind']}"
    words: dict[str, Any] = {**home, "a_kind": a_kind, "sum": dialogue.voice.corrected(total, wrong), "extras": ""}
    if dialogue.chance(0.5):
        arguments["extras"] = rng.sample(EXTRAS, rng.choice((1, 1, 2, 2, 3)))
        words["extras"] = dialogue.voice.pick("extras_home").format(extras=_listed(arguments["extras"]))
    kind = rng.choice(("all", "all", "open", "home"))
    if kind == "all":
        dialogue.user("home_all", **words)
    elif kind == "open":
        dialogue.user("home_open")
        dialogue.ask_for("kind", "rooms", "postcode", "sum_insured")
        dialogue.user("give_home", **words)
    else:
        dialogue.user("home_only", **words)
        dialogue.ask_for("sum_insured")
        dialogue.user("give_sum", **words)
    (result,) = dialogue.call((HOUSEHOLD, arguments))
    if is_too_high or dialogue.chance(0.2):
        arguments["sum_insured"] = 1000 * rng.randrange(20, MOST_INSURED // 1000, 2)
        dialogue.user("refine_sum", sum=arguments["sum_insured"])
        (result,) = dialogue.call((HOUSEHOLD, arguments))
    if dialogue.chance(0.3):
        dialogue.user("fact_monthly")
        dialogue.state("monthly", result)


def _listed(words: list[str]) -> str:
    head = ", ".join(words[:-1])
    return f"{head} and {words[-1]}" if head else words[-1]
