"""The wordings of the insurance assistant; `simulator_kit.replies` chooses among them."""

from collections.abc import Mapping
from typing import Any

from simulator_kit.replies import DAY_QUESTION, TIME_QUESTION, Outcome, Replies, Reply, filled, plain_failure

TALK = {
    "greet": "Hello! How can I help you?",
    "thanks": "You're welcome!",
    "wellbeing": "I'm fine, thank you. How can I help you?",
    "bot": "I'm the digital assistant of Northlake Insurance.",
    "wait": "Take your time.",
    "hours": "We are open Monday to Friday, 08:00 to 17:00.",
    "address": "The office is at 55 Harbour Street in Toronto.",
    "offtopic": "Sorry, I can only help with insurance.",
}
"""The answer to each kind of small talk; hours and address are in the system prompt."""

_ASKED_FOR = {
    "policy_id": "the policy",
    "age": "your age",
    "claim_free_years": "your claim-free years",
    "model": "the car",
    "year": "its year",
    "coverage": "the coverage",
    "kind": "the kind of home",
    "rooms": "the number of rooms",
    "postcode": "the postcode",
    "sum_insured": "the sum insured",
    "incident.date": "the day",
    "cause": "the cause",
    "injured": "whether anyone was hurt",
    "items": "what was damaged",
    "claim_id": "the claim",
    "address": "the new address",
    "valid_from": "the first day",
    "channel": "phone, video or office",
    "date": "the day",
    "name": "your name",
    "phone": "your phone number",
    "email": "your e-mail address",
}

_FACTS = {
    "yearly": "{policy} costs CAD {yearly} a year.",
    "deductible": "The deductible of {policy} is CAD {deductible}.",
    "valid": "{policy} is valid until {valid_until}.",
    "monthly": "That is CAD {monthly} a month.",
    "handler": "Your contact is {handler}.",
    "amount": "{claim} is about CAD {amount}.",
    "total": "The total is CAD {total}.",
    "new_price": "It now costs CAD {yearly} a year.",
}


def _slots(result: Mapping[str, Any]) -> Reply:
    if not result["free"]:
        return Reply(f"Nobody is free on {result['date']}.", DAY_QUESTION)
    return Reply(f"On {result['date']} we are free at {', '.join(result['free'])}.", TIME_QUESTION)


def _failure(outcome: Outcome) -> Reply:
    error = outcome.result["error"]
    if "deductible" in error or "coverage" in error or "we insure" in error:
        return plain_failure(outcome, question="What would you like to change?")
    if "date" in outcome.arguments:
        return plain_failure(outcome, question=DAY_QUESTION)
    return plain_failure(outcome)


REPLIES = Replies(
    asked_for=_ASKED_FOR,
    talk=TALK,
    facts=_FACTS,
    failure=_failure,
    success={
        "find_policy": filled("{policy} is a {kind} policy for CAD {yearly} a year."),
        "quote_motor": filled("Quote {quote}: {coverage} coverage costs CAD {yearly} a year."),
        "quote_household": filled("Quote {quote}: it costs CAD {yearly} a year."),
        "report_claim": filled("Claim {claim} is reported. We pay CAD {paid}."),
        "claim_status": filled("Claim {claim} is {status}."),
        "change_address": filled("Done, {policy} moves to {city} on {valid_from}."),
        "advisor_slots": _slots,
        "book_advisor": filled("Appointment {booking} is booked: {channel} on {date} at {time}."),
        "send_document": filled("Done, the {sent} of {policy} is on its way."),
    },
)
