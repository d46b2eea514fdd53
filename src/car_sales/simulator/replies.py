"""The assistant's answers, which depend only on the situation and the results of the tools.

There is one wording per situation, with facts in the order of the result, so a small model can learn it from few
sessions.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

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


class Outcome(NamedTuple):
    """A call and its result."""

    name: str
    arguments: Mapping[str, Any]
    result: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Reply:
    """The assistant's statement, and its next question, if any."""

    statement: str
    question: str = ""


def ask_for(*missing: str) -> str:
    """Return the question for missing arguments, given in the schema's order.

    >>> ask_for("plate", "mileage", "had_accident")
    'Please tell me the plate, the mileage and whether it had an accident.'
    """
    words = [_ASKED_FOR[name] for name in missing]
    head = ", ".join(words[:-1])
    return f"Please tell me {head} and {words[-1]}." if head else f"Please tell me {words[-1]}."


def date_note(days: Sequence[str]) -> str:
    """Return the assistant's words before a call with dates that the customer did not write out.

    >>> date_note(["tomorrow 28.04.", "Thursday 01.05."])
    'That is tomorrow 28.04. and Thursday 01.05.'
    """
    return f"That is {' and '.join(days)}"


def report(outcomes: Sequence[Outcome]) -> str:
    """Return the assistant's report on the results of one turn's calls, in the order of the calls."""
    replies = [_failure(o) if "error" in o.result else _SUCCESS[o.name](o.result) for o in outcomes]
    questions = [reply.question for reply in replies if reply.question]
    return " ".join([*(reply.statement for reply in replies), *questions[-1:]])


def fact(topic: str, known: Mapping[str, Any]) -> str:
    """Return the answer to a question about a fact in an earlier result."""
    return {
        "color": "{id} is {color}.",
        "seats": "{id} has {seats} seats.",
        "gearbox": "{id} is {gearbox}.",
        "fuel": "{id} is {fuel}.",
        "km": "{id} has {km} km.",
        "total": "In total it is CHF {total}.",
        "valid": "It is valid for {valid_days} days.",
    }[topic].format(**known)


def _search(result: Mapping[str, Any]) -> Reply:
    if not result["cars"]:
        return Reply("I found no such car.", "What would you like to change?")
    cars = (f"{car['car']} {car['id']} for CHF {car['price']}" for car in result["cars"])
    return Reply(f"I found {', '.join(cars)}.")


def _slots(result: Mapping[str, Any]) -> Reply:
    if not result["free"]:
        return Reply(f"{result['id']} is not free on {result['date']}.", "Which other day suits you?")
    free = ", ".join(result["free"])
    return Reply(f"{result['id']} is free on {result['date']} at {free}.", "Which time suits you?")


def _failure(outcome: Outcome) -> Reply:
    error = outcome.result["error"]
    statement = f"Sorry, {error}."
    if outcome.result.get("free"):
        return Reply(f"{statement} Free times: {', '.join(outcome.result['free'])}.", "Which time suits you?")
    if outcome.name == "financing_rate" and "down payment" in error:
        return Reply(statement, "How much would you like to pay?")
    if "date" in outcome.arguments and "unknown" not in error:
        return Reply(statement, "Which other day suits you?")
    return Reply(statement, "Please check it.")


def _template(text: str) -> Callable[[Mapping[str, Any]], Reply]:
    return lambda result: Reply(text.format(**result))


_SUCCESS: Mapping[str, Callable[[Mapping[str, Any]], Reply]] = {
    "search_inventory": _search,
    "vehicle_details": _template("{car} {id} from {year} costs CHF {price} and has {km} km."),
    "compare_vehicles": _template("Cheapest: {cheapest} for CHF {price}. Fewest km: {fewest_km} with {km}."),
    "financing_rate": _template("{id} costs CHF {monthly} a month over {months} months."),
    "trade_in_value": _template("Your {car} from {year} is worth CHF {value}."),
    "test_drive_slots": _slots,
    "book_test_drive": _template("Test drive {booking} is booked: {car} on {date} at {time}."),
    "send_by_email": _template("Done, {lead}: the {topic} is on its way."),
}
