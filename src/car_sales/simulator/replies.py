"""The wordings of the sales assistant; `simulator_kit.replies` chooses among them."""

from collections.abc import Mapping
from typing import Any

from simulator_kit.replies import DAY_QUESTION, TIME_QUESTION, Outcome, Replies, Reply, filled, plain_failure

GREETING = "Hello! How can I help you?"
TALK = {
    "greet": GREETING,
    "thanks": "You're welcome!",
    "wellbeing": "I'm fine, thank you. How can I help you?",
    "bot": "I'm the digital sales assistant of Seeblick Garage.",
    "wait": "Take your time.",
    "hours": "We are open Monday to Saturday, 09:00 to 18:00.",
    "address": "The showroom is at Seestrasse 12 in Zurich.",
    "offtopic": "Sorry, I can only help with our cars.",
}
"""The answer to each kind of small talk; hours and address are in the system prompt."""

ASK_FILTER = "Please tell me a make, a body, a fuel or a price."

_ASKED_FOR = {
    "vehicle_id": "the car",
    "date": "the day",
    "months": "the number of months",
    "plate": "the plate",
    "mileage": "the mileage",
    "had_accident": "whether it had an accident",
    "name": "your name",
    "phone": "your phone number",
    "email": "your e-mail address",
}

_FACTS = {
    "color": "{id} is {color}.",
    "seats": "{id} has {seats} seats.",
    "gearbox": "{id} is {gearbox}.",
    "fuel": "{id} is {fuel}.",
    "km": "{id} has {km} km.",
    "total": "In total it is CHF {total}.",
    "valid": "It is valid for {valid_days} days.",
}


def _search(result: Mapping[str, Any]) -> Reply:
    if not result["cars"]:
        return Reply("I found no such car.", "What would you like to change?")
    cars = (f"{car['car']} {car['id']} for CHF {car['price']}" for car in result["cars"])
    return Reply(f"I found {', '.join(cars)}.")


def _slots(result: Mapping[str, Any]) -> Reply:
    if not result["free"]:
        return Reply(f"{result['id']} is not free on {result['date']}.", DAY_QUESTION)
    free = ", ".join(result["free"])
    return Reply(f"{result['id']} is free on {result['date']} at {free}.", TIME_QUESTION)


def _failure(outcome: Outcome) -> Reply:
    error = outcome.result["error"]
    if outcome.name == "financing_rate" and "down payment" in error:
        return plain_failure(outcome, question="How much would you like to pay?")
    if "date" in outcome.arguments and "unknown" not in error:
        return plain_failure(outcome, question=DAY_QUESTION)
    return plain_failure(outcome)


REPLIES = Replies(
    asked_for=_ASKED_FOR,
    talk=TALK,
    facts=_FACTS,
    failure=_failure,
    success={
        "search_inventory": _search,
        "vehicle_details": filled("{car} {id} from {year} costs CHF {price} and has {km} km."),
        "compare_vehicles": filled("Cheapest: {cheapest} for CHF {price}. Fewest km: {fewest_km} with {km}."),
        "financing_rate": filled("{id} costs CHF {monthly} a month over {months} months."),
        "trade_in_value": filled("Your {car} from {year} is worth CHF {value}."),
        "test_drive_slots": _slots,
        "book_test_drive": filled("Test drive {booking} is booked: {car} on {date} at {time}."),
        "send_by_email": filled("Done, {lead}: the {topic} is on its way."),
    },
)
