"""Scenes about money: financing a car, and trading in the customer's own car."""

from dataclasses import replace
from typing import Any

from .dialogue import CarDialogue
from .stock import OwnedCar, Vehicle

FINANCE = "financing_rate"
TERMS = (12, 24, 36, 48, 60, 72)
_ERROR_RATE = 0.15


def finance(dialogue: CarDialogue) -> None:
    """Ask for a monthly rate: at once, in steps, or for two terms; sometimes again for another term."""
    vehicle = dialogue.pick_car()
    if dialogue.chance(0.15):
        _two_terms(dialogue, vehicle)
        return
    months, wrong = dialogue.rng.sample(TERMS, 2)
    optional, extras = _extras(dialogue, vehicle)
    said = {"months": dialogue.voice.corrected(months, wrong), "extras": extras}
    if dialogue.chance(0.45):
        dialogue.user("finance_open", car=dialogue.refer(vehicle))
        dialogue.ask_for("months")
        dialogue.user("give_months", **said)
    else:
        dialogue.user("finance", car=dialogue.refer(vehicle), **said)
    arguments = {"vehicle_id": vehicle.id, "months": months, **optional}
    (result,) = dialogue.call((FINANCE, arguments))
    if "error" in result:
        arguments["down_payment"] = _down_payment(dialogue, vehicle)
        dialogue.user("fix_down", down=arguments["down_payment"])
        (result,) = dialogue.call((FINANCE, arguments))
    if dialogue.chance(0.3):
        dialogue.user("fact_total")
        dialogue.state("total", result)
    elif dialogue.chance(0.2):
        arguments["months"] = dialogue.rng.choice([term for term in TERMS if term != months])
        dialogue.user("refinance", months=arguments["months"])
        dialogue.call((FINANCE, arguments))


def _two_terms(dialogue: CarDialogue, vehicle: Vehicle) -> None:
    months, more = sorted(dialogue.rng.sample(TERMS, 2))
    dialogue.user("finance_terms", car=dialogue.refer(vehicle), months=months, more=more)
    dialogue.call(*((FINANCE, {"vehicle_id": vehicle.id, "months": term}) for term in (months, more)))


def _extras(dialogue: CarDialogue, vehicle: Vehicle) -> tuple[dict[str, Any], str]:
    """Choose an optional argument and the words for it, or none."""
    if not dialogue.chance(0.35):
        return {}, ""
    is_too_high = dialogue.chance(_ERROR_RATE)
    down = vehicle.price + 1000 if is_too_high else _down_payment(dialogue, vehicle)
    return {"down_payment": down}, dialogue.voice.pick("extras_down").format(down=down)


def _down_payment(dialogue: CarDialogue, vehicle: Vehicle) -> int:
    return dialogue.rng.randrange(2, max(3, vehicle.price // 2000)) * 1000


def trade_in(dialogue: CarDialogue) -> None:
    """Ask for the value of the customer's own car, at once or when asked for details; the plate may first be wrong."""
    car = dialogue.owned_car
    has_typo = dialogue.chance(_ERROR_RATE)
    arguments: dict[str, Any] = {
        "plate": _mistyped(dialogue, car).plate if has_typo else car.plate,
        "mileage": dialogue.rng.randrange(30, 190) * 1000,
        "had_accident": dialogue.chance(0.45),
    }
    _state(dialogue, arguments)
    (result,) = dialogue.call(("trade_in_value", arguments))
    if has_typo:
        arguments["plate"] = car.plate
        dialogue.user("fix_plate", plate=car.plate)
        (result,) = dialogue.call(("trade_in_value", arguments))
    if dialogue.chance(0.4):
        dialogue.user("fact_valid")
        dialogue.state("valid", result)


def _state(dialogue: CarDialogue, arguments: dict[str, Any]) -> None:
    accident = "accident_yes" if arguments["had_accident"] else "accident_no"
    words = {
        "plate": arguments["plate"],
        "km": arguments["mileage"],
        "accident": dialogue.voice.pick(accident),
    }
    if dialogue.chance(0.6):
        dialogue.user("tradein_all", **words)
    else:
        dialogue.user("tradein")
        dialogue.ask_for("plate", "mileage", "had_accident")
        dialogue.user("give_all", **words)


def _mistyped(dialogue: CarDialogue, car: OwnedCar) -> OwnedCar:
    canton, digits = car.plate.split()
    at = dialogue.rng.randrange(3)
    swapped = digits[:at] + digits[at + 1] + digits[at] + digits[at + 2 :]
    # Swapping equal digits changes nothing, and no plate starts with a zero.
    if swapped == digits or swapped.startswith("0"):
        swapped = str((int(digits) + 1000) % 9000 + 1000)
    return replace(car, plate=f"{canton} {swapped}")
