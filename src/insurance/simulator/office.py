"""The simulated insurance office: every tool of `data/insurance/tool_calls.json` as a working function."""

import re
from collections.abc import Callable, Iterable
from dataclasses import replace
from datetime import date
from random import Random
from typing import Annotated

from pydantic import Field

from simulator_kit.office import (
    Arguments,
    Customer,
    Office,
    Result,
    ToolFailure,
    check_email,
    future_day,
    written_day,
)

from .world import (
    COVERED,
    DEDUCTIBLES,
    FULL_COVERAGE_YEARS,
    MOST_INSURED,
    SCHEDULE,
    Cause,
    Channel,
    Claim,
    Coverage,
    Document,
    Extra,
    HomeKind,
    Policy,
    household_premium,
    motor_premium,
)

STATUSES = ("in review", "approved", "paid", "declined")
HANDLERS = ("Ms Roy", "Mr Singh", "Ms Fraser", "Mr Tremblay")
_N_CLAIMS = 5
_POSTCODE = re.compile(r"[A-Z]\d[A-Z] \d[A-Z]\d")
Money = Annotated[int, Field(ge=0, le=10_000_000)]


class Driver(Arguments):
    """The first nested argument of `quote_motor`."""

    age: Annotated[int, Field(ge=18, le=99)]
    claim_free_years: Annotated[int, Field(ge=0, le=80)]


class Vehicle(Arguments):
    """The second nested argument of `quote_motor`."""

    model: str
    year: Annotated[int, Field(ge=1950, le=2100)]


class Home(Arguments):
    """The nested argument of `quote_household`."""

    kind: HomeKind
    rooms: Annotated[int, Field(ge=1, le=50)]
    postcode: str


class Incident(Arguments):
    """The nested argument of `report_claim`."""

    date: str
    cause: Cause
    injured: bool


class Item(Arguments):
    """A damaged thing, in the list of `report_claim`; `amount` is in Canadian dollars."""

    name: str
    amount: Money


class Address(Arguments):
    """The nested argument of `change_address`."""

    street: str
    postcode: str
    city: str


class InsuranceOffice(Office):
    """An office with its policies, claims, tariffs and advisors, on one day; `rng` draws the claims of the past."""

    schedule = SCHEDULE

    def __init__(self, policies: Iterable[Policy], *, rng: Random, today: date, first_number: int = 1) -> None:
        super().__init__(today=today, first_number=first_number)
        self.policies = {policy.id: policy for policy in policies}
        self.claims = {claim.id: claim for claim in _past_claims(rng)}

    @property
    def functions(self) -> tuple[Callable[..., Result], ...]:
        """The tools in the order of `data/insurance/tool_calls.json`."""
        return (
            self.find_policy,
            self.quote_motor,
            self.quote_household,
            self.report_claim,
            self.claim_status,
            self.change_address,
            self.advisor_slots,
            self.book_advisor,
            self.send_document,
        )

    def find_policy(self, policy_id: str) -> Result:
        """Return all that is known about one policy."""
        policy = self._policy(policy_id)
        return {
            "policy": policy.id,
            "kind": policy.kind,
            "yearly": policy.premium,
            "deductible": policy.deductible,
            "valid_until": policy.valid_until.isoformat(),
        }

    def quote_motor(self, driver: Driver, vehicle: Vehicle, coverage: Coverage, deductible: Money = 500) -> Result:
        """Return what a car insurance costs."""
        if deductible not in DEDUCTIBLES:
            known = ", ".join(map(str, DEDUCTIBLES[:-1]))
            raise ToolFailure(f"the deductible can be {known} or {DEDUCTIBLES[-1]}")
        oldest = self.today.year - FULL_COVERAGE_YEARS
        if coverage == "full" and vehicle.year < oldest:
            raise ToolFailure(f"full coverage needs a car from {oldest} or later")
        yearly = motor_premium(
            age=driver.age,
            claim_free_years=driver.claim_free_years,
            car_age=max(0, self.today.year - vehicle.year),
            coverage=coverage,
            deductible=deductible,
        )
        return {"quote": f"Q{self.number()}", "coverage": coverage, "yearly": yearly, "monthly": yearly // 12}

    def quote_household(self, home: Home, sum_insured: Money, extras: list[Extra] | None = None) -> Result:
        """Return what a household insurance costs."""
        _check_postcode(home.postcode)
        if sum_insured > MOST_INSURED:
            raise ToolFailure(f"we insure up to {MOST_INSURED}")
        n_extras = len(set(extras or ()))
        yearly = household_premium(kind=home.kind, rooms=home.rooms, sum_insured=sum_insured, n_extras=n_extras)
        return {"quote": f"Q{self.number()}", "yearly": yearly, "monthly": yearly // 12}

    def report_claim(self, policy_id: str, incident: Incident, items: list[Item]) -> Result:
        """Open a claim for a day that is not in the future, and return what will be paid."""
        policy = self._policy(policy_id)
        if written_day(incident.date) > self.today:
            raise ToolFailure(f"{incident.date} is in the future")
        if incident.cause not in COVERED[policy.kind]:
            raise ToolFailure(f"{policy.id} does not cover {incident.cause}")
        if not items:
            raise ToolFailure("at least one item is needed")
        total = sum(item.amount for item in items)
        number = self.number()
        while f"C{number}" in self.claims:
            number = self.number()
        handler = HANDLERS[number % len(HANDLERS)]
        self.claims[f"C{number}"] = Claim(f"C{number}", STATUSES[0], total, handler)
        return {"claim": f"C{number}", "total": total, "paid": max(0, total - policy.deductible), "handler": handler}

    def claim_status(self, claim_id: str) -> Result:
        """Return how far a claim is."""
        if claim_id not in self.claims:
            raise ToolFailure(f"{claim_id} is unknown")
        claim = self.claims[claim_id]
        return {"claim": claim.id, "status": claim.status, "amount": claim.amount, "handler": claim.handler}

    def change_address(self, policy_id: str, address: Address, valid_from: str) -> Result:
        """Move a policy to a new address from a day on, which changes its price."""
        policy = self._policy(policy_id)
        _check_postcode(address.postcode)
        future_day(valid_from, today=self.today)
        moved = replace(policy, premium=policy.premium + 12 * (ord(address.postcode[0]) % 3))
        self.policies[policy.id] = moved
        return {"policy": policy.id, "city": address.city, "valid_from": valid_from, "yearly": moved.premium}

    def advisor_slots(self, channel: Channel, date: str) -> Result:
        """Return the free times for an advisor on a day (YYYY-MM-DD)."""
        return {"channel": channel, "date": date, "free": self.free_times(channel, self.open_day(date))}

    def book_advisor(self, channel: Channel, date: str, time: str, customer: Customer) -> Result:
        """Book an advisor, after which the time is taken."""
        self.take(channel, self.open_day(date), time)
        return {"booking": f"B{self.number()}", "channel": channel, "date": date, "time": time}

    def send_document(self, document: Document, policy_id: str, email: str) -> Result:
        """Record what to send to whom."""
        policy = self._policy(policy_id)
        check_email(email)
        return {"sent": document, "policy": policy.id}

    def _policy(self, policy_id: str) -> Policy:
        if policy_id not in self.policies:
            raise ToolFailure(f"{policy_id} is unknown")
        return self.policies[policy_id]


def _check_postcode(postcode: str) -> None:
    if not _POSTCODE.fullmatch(postcode):
        raise ToolFailure(f"{postcode} is not a valid postcode")


def _past_claims(rng: Random) -> Iterable[Claim]:
    for number in rng.sample(range(100, 1000), _N_CLAIMS):
        yield Claim(f"C{number}", rng.choice(STATUSES), rng.randrange(3, 90) * 100, rng.choice(HANDLERS))
