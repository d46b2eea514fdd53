"""The insurance office: every tool works as described, and answers mistakes helpfully."""

import json
from datetime import date
from random import Random
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from insurance.simulator.office import InsuranceOffice
from insurance.simulator.world import SCHEDULE, Policy
from tests.support.samples import schemas_of

SCHEMAS = schemas_of("insurance")
TODAY = date(2025, 3, 14)  # a Friday
EMMA = {"name": "Emma Brown", "phone": "416 123 45"}
DRIVER = {"age": 40, "claim_free_years": 10}
HOME: dict[str, Any] = {"kind": "house", "rooms": 5, "postcode": "M5V 2T6"}
FIRE: dict[str, Any] = {"date": "2025-03-10", "cause": "fire", "injured": False}
LEAK = {**FIRE, "cause": "water"}
SOFA = {"name": "sofa", "amount": 900}
NEW_HOME: dict[str, Any] = {"street": "12 Mill Road", "postcode": "K1A 0B1", "city": "Ottawa"}


@pytest.fixture
def office() -> InsuranceOffice:
    policies = [Policy("P1", "motor", 600, 500, date(2026, 1, 31)), Policy("P2", "household", 240, 300, TODAY)]
    return InsuranceOffice(policies, rng=Random(4), today=TODAY)


def ask(office: InsuranceOffice, tool: str, /, **arguments: Any) -> Any:
    return json.loads(office.call(tool, arguments))


def motor(office: InsuranceOffice, *, driver: Any = None, year: int = 2020, coverage: str = "full", **more: Any) -> Any:
    vehicle = {"model": "Mazda CX-5", "year": year}
    return ask(office, "quote_motor", driver=driver or DRIVER, vehicle=vehicle, coverage=coverage, **more)


def open_day(channel: str = "video") -> tuple[str, list[str]]:
    days = (date(2025, 3, day) for day in range(17, 32))
    day, times = next((d, t) for d in days if len(t := SCHEDULE.offered(channel, d)) >= 2)
    return day.isoformat(), list(times)


def test_a_policy_is_shown(office: InsuranceOffice) -> None:
    assert ask(office, "find_policy", policy_id="P1") == {
        "policy": "P1", "kind": "motor", "yearly": 600, "deductible": 500, "valid_until": "2026-01-31",
    }  # fmt: skip


def test_the_price_of_a_car_insurance_depends_on_every_argument(office: InsuranceOffice) -> None:
    usual = motor(office)["yearly"]
    assert usual % 12 == 0
    assert motor(office)["monthly"] * 12 == usual
    assert motor(office, driver={"age": 20, "claim_free_years": 10})["yearly"] > usual
    assert motor(office, driver={"age": 40, "claim_free_years": 1})["yearly"] > usual
    assert motor(office, year=2014)["yearly"] < usual
    assert motor(office, coverage="partial")["yearly"] < usual
    assert motor(office, deductible=2000)["yearly"] < usual
    default = SCHEMAS["quote_motor"]["properties"]["deductible"]["default"]
    assert motor(office, deductible=default)["yearly"] == usual


def test_the_price_of_a_household_insurance_depends_on_every_argument(office: InsuranceOffice) -> None:
    def price(sum_insured: int = 80000, **changes: Any) -> int:
        extras = changes.pop("extras", [])
        result = ask(office, "quote_household", home={**HOME, **changes}, sum_insured=sum_insured, extras=extras)
        return int(result["yearly"])

    usual = price()
    assert usual == ask(office, "quote_household", home=HOME, sum_insured=80000)["yearly"]
    assert price(kind="apartment") < usual < price(rooms=8) < price(rooms=8, extras=["glass", "theft"])
    assert price(sum_insured=160000) > usual


def test_a_claim_pays_the_items_without_the_deductible_and_can_be_looked_up(office: InsuranceOffice) -> None:
    lamp = {"name": "lamp", "amount": 150}
    result = ask(office, "report_claim", policy_id="P2", incident=FIRE, items=[SOFA, lamp])
    assert (result["total"], result["paid"]) == (1050, 750)
    status = ask(office, "claim_status", claim_id=result["claim"])
    assert status == {"claim": "C1", "status": "in review", "amount": 1050, "handler": result["handler"]}
    assert ask(office, "report_claim", policy_id="P2", incident=FIRE, items=[lamp])["paid"] == 0


def test_a_new_address_changes_the_policy(office: InsuranceOffice) -> None:
    result = ask(office, "change_address", policy_id="P1", address=NEW_HOME, valid_from="2025-04-01")
    assert (result["city"], result["valid_from"]) == ("Ottawa", "2025-04-01")
    assert ask(office, "find_policy", policy_id="P1")["yearly"] == result["yearly"]


def test_a_booked_time_is_taken_only_for_that_channel(office: InsuranceOffice) -> None:
    day, times = open_day()
    booking = {"channel": "video", "date": day, "time": times[0], "customer": EMMA}
    other = ask(office, "advisor_slots", channel="phone", date=day)
    assert ask(office, "advisor_slots", channel="video", date=day)["free"] == times
    assert ask(office, "book_advisor", **booking) == {
        "booking": "B1", "channel": "video", "date": day, "time": times[0],
    }  # fmt: skip
    assert ask(office, "book_advisor", **booking) == {"error": f"{times[0]} is not free", "free": times[1:]}
    assert ask(office, "advisor_slots", channel="phone", date=day) == other


def test_a_document_is_sent(office: InsuranceOffice) -> None:
    sent = ask(office, "send_document", document="invoice", policy_id="P2", email="a@example.org")
    assert sent == {"sent": "invoice", "policy": "P2"}


CLAIM: dict[str, Any] = {"policy_id": "P2", "incident": FIRE, "items": [SOFA]}
MOVE: dict[str, Any] = {"policy_id": "P1", "address": NEW_HOME, "valid_from": "2025-04-01"}


@pytest.mark.parametrize(
    ("name", "arguments", "error"),
    [
        ("find_policy", {"policy_id": "P9"}, "P9 is unknown"),
        ("claim_status", {"claim_id": "C1"}, "C1 is unknown"),
        ("quote_motor", {"driver": DRIVER, "vehicle": {"model": "x", "year": 2010}, "coverage": "full"},
         "full coverage needs a car from 2013 or later"),
        ("quote_motor",
         {"driver": DRIVER, "vehicle": {"model": "x", "year": 2020}, "coverage": "full", "deductible": 700},
         "the deductible can be 300, 500, 1000 or 2000"),
        ("quote_household", {"home": HOME, "sum_insured": 300000}, "we insure up to 200000"),
        ("quote_household", {"home": {**HOME, "postcode": "M5V"}, "sum_insured": 9000}, "M5V is not a valid postcode"),
        ("report_claim", {**CLAIM, "policy_id": "P9"}, "P9 is unknown"),
        ("report_claim", {**CLAIM, "items": []}, "at least one item is needed"),
        ("report_claim", {**CLAIM, "incident": {**FIRE, "cause": "collision"}}, "P2 does not cover collision"),
        ("report_claim", {**CLAIM, "policy_id": "P1", "incident": LEAK}, "P1 does not cover water"),
        ("report_claim", {**CLAIM, "incident": {**FIRE, "date": "2025-03-15"}}, "2025-03-15 is in the future"),
        ("report_claim", {**CLAIM, "incident": {**FIRE, "date": "now"}}, "now is not a date written YYYY-MM-DD"),
        ("change_address", {**MOVE, "valid_from": "2025-03-13"}, "2025-03-13 is in the past"),
        ("change_address", {**MOVE, "address": {**NEW_HOME, "postcode": "1234"}}, "1234 is not a valid postcode"),
        ("advisor_slots", {"channel": "phone", "date": "2025-03-15"}, "we are closed on weekends"),
        ("send_document", {"document": "contract", "policy_id": "P1", "email": "a@b"}, "a@b is not a valid e-mail"),
    ],
)  # fmt: skip
def test_impossible_requests_are_explained(
    office: InsuranceOffice, name: str, arguments: dict[str, Any], error: str
) -> None:
    assert Draft202012Validator(SCHEMAS[name]).is_valid(arguments)
    assert ask(office, name, **arguments) == {"error": error}


@pytest.mark.parametrize(
    ("name", "arguments", "word"),
    [
        ("cancel_policy", {}, "cancel_policy"),
        ("find_policy", {}, "policy_id"),
        ("quote_motor", {"driver": {"age": "40"}}, "driver.age"),
        ("quote_motor", {"driver": DRIVER, "vehicle": {"model": "x", "year": 2020}, "coverage": "all"}, "coverage"),
        ("report_claim", {**CLAIM, "items": [{"name": "sofa"}]}, "items.0.amount"),
        ("report_claim", {**CLAIM, "incident": {**FIRE, "injured": "no"}}, "incident.injured"),
        ("quote_household", {"home": HOME, "sum_insured": 9000, "extras": ["pets"]}, "extras.0"),
        ("change_address", {**MOVE, "address": {**NEW_HOME, "floor": 3}}, "address.floor"),
    ],
)
def test_wrong_arguments_are_answered_and_never_raise(
    office: InsuranceOffice, name: str, arguments: dict[str, Any], word: str
) -> None:
    result = ask(office, name, **arguments)
    assert set(result) == {"error"}
    assert word in result["error"]
