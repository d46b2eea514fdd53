"""The insurance company's data: policies, claims, opening hours, and what a policy costs and covers."""

from dataclasses import dataclass
from datetime import date
from typing import Literal

from simulator_kit.office import Schedule

Kind = Literal["motor", "household"]
Coverage = Literal["liability", "partial", "full"]
Cause = Literal["collision", "theft", "fire", "water", "storm"]
Channel = Literal["phone", "video", "office"]
HomeKind = Literal["apartment", "house"]
Extra = Literal["theft", "water", "glass", "bicycle"]
Document = Literal["certificate", "contract", "invoice"]

COVERED: dict[Kind, tuple[Cause, ...]] = {
    "motor": ("collision", "theft", "fire", "storm"),
    "household": ("theft", "fire", "water", "storm"),
}
DEDUCTIBLES = (300, 500, 1000, 2000)
MOST_INSURED = 200_000
FULL_COVERAGE_YEARS = 12
SCHEDULE = Schedule(
    ("08:30", "09:30", "10:00", "11:30", "13:00", "14:30", "16:00"),
    closed=(5, 6),
    reason="we are closed on weekends",
)

_BASE = {"liability": 320, "partial": 480, "full": 720}
_PER_EXTRA = 24


@dataclass(frozen=True, slots=True)
class Policy:
    """A policy; `premium` is in Canadian dollars a year, `deductible` in Canadian dollars."""

    id: str
    kind: Kind
    premium: int
    deductible: int
    valid_until: date


@dataclass(frozen=True, slots=True)
class Claim:
    """A reported claim; `amount` is in Canadian dollars."""

    id: str
    status: str
    amount: int
    handler: str


def motor_premium(*, age: int, claim_free_years: int, car_age: int, coverage: Coverage, deductible: int) -> int:
    """Return the price of a car insurance in Canadian dollars a year, a multiple of 12."""
    price = _BASE[coverage] * (1.6 if age < 25 else 1.2 if age > 70 else 1.0)
    price *= max(0.5, 1 - 0.04 * claim_free_years) * max(0.7, 1 - 0.02 * car_age)
    return 12 * max(10, round((price - deductible / 20) / 12))


def household_premium(*, kind: HomeKind, rooms: int, sum_insured: int, n_extras: int) -> int:
    """Return the price of a household insurance in Canadian dollars a year, a multiple of 12."""
    price = sum_insured / 400 + (12 if kind == "house" else 8) * rooms + _PER_EXTRA * n_extras
    return 12 * max(5, round(price / 12))
