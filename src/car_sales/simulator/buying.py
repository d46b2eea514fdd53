"""Scenes about choosing a car: searching, asking for details, comparing, asking about results."""

from typing import Any

from .dialogue import CarDialogue
from .paying import FINANCE, TERMS
from .replies import ASK_FILTER
from .stock import Vehicle

SEARCH = "search_inventory"
DETAILS = "vehicle_details"
FILTERS = ("make", "body", "fuel", "max_price")
FACTS = ("color", "seats", "gearbox", "fuel", "km")
_PRICE_STEP = 1000


def search(dialogue: CarDialogue) -> None:
    """Search with filters, sometimes after being asked for some; then sometimes widen or change the search."""
    target = dialogue.rng.choice(tuple(dialogue.office.stock.values()))
    filters = _filters_for(dialogue, target)
    hits_nothing = dialogue.chance(0.15)
    if hits_nothing:
        filters["max_price"] = _below_all(dialogue, filters)
    if dialogue.chance(0.3):
        dialogue.user("search_open")
        dialogue.say(ASK_FILTER)
        dialogue.user("criteria", what=_noun_phrase(dialogue, filters))
    else:
        dialogue.user("search", what=_noun_phrase(dialogue, filters))
    dialogue.call((SEARCH, filters))
    if hits_nothing:
        _raise_limit(dialogue, filters, target)
    elif dialogue.chance(0.25):
        _change_mind(dialogue, filters)
    elif dialogue.chance(0.2):
        _ask_listed_km(dialogue)


def details(dialogue: CarDialogue) -> None:
    """Ask for the details of one car or of two at once, then sometimes for a fact in the result."""
    if dialogue.chance(0.15):
        _details_of_wrong_id(dialogue)
    elif dialogue.chance(0.3):
        vehicle = dialogue.pick_car()
        other = dialogue.other_car(vehicle)
        words = {"car": dialogue.refer(vehicle, pronoun=False), "other": dialogue.refer(other, pronoun=False)}
        dialogue.user("details_two", **words)
        dialogue.call(*((DETAILS, {"vehicle_id": v.id}) for v in (vehicle, other)))
    else:
        vehicle = dialogue.pick_car()
        if vehicle.id not in dialogue.listed and dialogue.chance(0.15):
            topic = dialogue.rng.choice(FACTS)
            dialogue.user(f"fact_{topic}", car=dialogue.refer(vehicle))
            dialogue.call((DETAILS, {"vehicle_id": vehicle.id}), answer=topic)
        else:
            dialogue.user("details", car=dialogue.refer(vehicle))
            dialogue.call((DETAILS, {"vehicle_id": vehicle.id}))
    if dialogue.chance(0.4):
        ask_fact(dialogue)


def details_and_rate(dialogue: CarDialogue) -> None:
    """Ask for the details of a car and its monthly rate in one message."""
    vehicle = dialogue.pick_car()
    months = dialogue.rng.choice(TERMS)
    dialogue.user("details_finance", car=dialogue.refer(vehicle), months=months)
    rate = (FINANCE, {"vehicle_id": vehicle.id, "months": months})
    dialogue.call((DETAILS, {"vehicle_id": vehicle.id}), rate)
    if dialogue.chance(0.3):
        ask_fact(dialogue)


def ask_fact(dialogue: CarDialogue) -> None:
    """Ask for one or two facts that earlier details already contain."""
    vehicle_id = dialogue.focus or dialogue.rng.choice(tuple(dialogue.details))
    known = dialogue.details[vehicle_id]
    for topic in dialogue.rng.sample(FACTS, 2 if dialogue.chance(0.35) else 1):
        dialogue.user(f"fact_{topic}", car=dialogue.refer(dialogue.office.stock[vehicle_id]))
        dialogue.state(topic, known)


def compare(dialogue: CarDialogue) -> None:
    """Compare two or three cars."""
    vehicles = [dialogue.pick_car()]
    for _ in range(2 if dialogue.chance(0.3) else 1):
        vehicles.append(dialogue.other_car(*vehicles))
    words = [dialogue.refer(vehicle, pronoun=False) for vehicle in vehicles]
    dialogue.user("compare", cars=f"{', '.join(words[:-1])} and {words[-1]}")
    dialogue.call(("compare_vehicles", {"vehicle_ids": [vehicle.id for vehicle in vehicles]}))


def _ask_listed_km(dialogue: CarDialogue) -> None:
    vehicle = dialogue.office.stock[dialogue.rng.choice(dialogue.listed)]
    dialogue.user("fact_km", car=dialogue.refer(vehicle))
    dialogue.state("km", {"id": vehicle.id, "km": vehicle.km})
    dialogue.listed, dialogue.focus = (), vehicle.id


def _details_of_wrong_id(dialogue: CarDialogue) -> None:
    vehicle = dialogue.rng.choice(tuple(dialogue.office.stock.values()))
    wrong = dialogue.rng.choice([f"V{n}" for n in range(1, 100) if f"V{n}" not in dialogue.office.stock])
    dialogue.user("details", car=wrong)
    dialogue.call((DETAILS, {"vehicle_id": wrong}))
    dialogue.user("wrong_id", id=vehicle.id)
    dialogue.call((DETAILS, {"vehicle_id": vehicle.id}))


def _filters_for(dialogue: CarDialogue, target: Vehicle) -> dict[str, Any]:
    kinds = dialogue.rng.choice(
        (*8 * (("make",), ("body",), ("fuel",)), ("make", "body"), ("body", "fuel"), ("make", "fuel"))
    )
    filters: dict[str, Any] = {kind: getattr(target, kind) for kind in FILTERS if kind in kinds}
    if dialogue.chance(0.5):
        steps = -(-target.price // _PRICE_STEP) + dialogue.rng.randrange(4)
        filters["max_price"] = steps * _PRICE_STEP
    return filters


def _matching(dialogue: CarDialogue, filters: dict[str, Any]) -> list[Vehicle]:
    wanted = {kind: value for kind, value in filters.items() if kind != "max_price"}
    stock = dialogue.office.stock.values()
    return [v for v in stock if all(getattr(v, kind) == value for kind, value in wanted.items())]


def _below_all(dialogue: CarDialogue, filters: dict[str, Any]) -> int:
    cheapest = min(vehicle.price for vehicle in _matching(dialogue, filters))
    return (cheapest - 1) // _PRICE_STEP * _PRICE_STEP - dialogue.rng.randrange(3) * _PRICE_STEP


def _raise_limit(dialogue: CarDialogue, filters: dict[str, Any], target: Vehicle) -> None:
    limit = (-(-target.price // _PRICE_STEP) + dialogue.rng.randrange(3)) * _PRICE_STEP
    dialogue.user("refine_price", price=_price(dialogue, limit))
    dialogue.call((SEARCH, {**filters, "max_price": limit}))


def _change_mind(dialogue: CarDialogue, filters: dict[str, Any]) -> None:
    """Change or add one filter so that the search still finds something; the other filters stay."""
    kind = dialogue.rng.choice(("fuel", "make"))
    rest = {key: value for key, value in filters.items() if key != kind}
    shown = {str(getattr(dialogue.office.stock[i], kind)) for i in dialogue.listed}
    options = {str(getattr(vehicle, kind)) for vehicle in _matching(dialogue, rest)}
    if len(shown) == 1:
        # Nobody who has just been shown only Fiats asks for a Fiat.
        options -= shown
    if not options:
        return
    value = dialogue.rng.choice(sorted(options))
    dialogue.user(f"refine_{kind}", **{kind: value})
    changed = {**filters, kind: value}
    dialogue.call((SEARCH, {key: changed[key] for key in FILTERS if key in changed}))


def _noun_phrase(dialogue: CarDialogue, filters: dict[str, Any]) -> str:
    make, body, fuel = (filters.get(kind) for kind in ("make", "body", "fuel"))
    if make and body and dialogue.chance(0.3):
        words = [fuel, body, "from", make]
    else:
        words = [fuel, make, body or (None if make else "car")]
    noun = " ".join(word for word in words if word)
    phrase = f"{'an' if noun.startswith(('e', 'O', 'A', 'SUV')) else 'a'} {noun}"
    if "max_price" not in filters:
        return phrase
    limit = dialogue.voice.pick("price_limit").format(price=_price(dialogue, filters["max_price"]))
    return f"{phrase} {limit}"


def _price(dialogue: CarDialogue, price: int) -> str:
    return dialogue.rng.choice(("{} francs", "CHF {}", "{}")).format(price)
