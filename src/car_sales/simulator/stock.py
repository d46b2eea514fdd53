"""The dealership's data: vehicles for sale, the customers' own cars, opening hours and free times.

The tools that use it are in `car_sales.simulator.dealership`.
"""

from dataclasses import dataclass
from datetime import date
from typing import Literal

from trainer.util.ordering import digest_number, shuffled

Body = Literal["SUV", "sedan", "hatchback", "estate"]
Fuel = Literal["petrol", "diesel", "hybrid", "electric"]
Gearbox = Literal["manual", "automatic"]

SUNDAY = 6
TEST_DRIVE_TIMES = ("09:00", "10:00", "11:30", "13:00", "14:30", "16:00", "17:00")
MAX_TIMES_A_DAY = 3


@dataclass(frozen=True, slots=True)
class Vehicle:
    """A used car for sale; `price` is in Swiss francs, `km` is the mileage."""

    id: str
    make: str
    model: str
    body: Body
    fuel: Fuel
    gearbox: Gearbox
    year: int
    km: int
    price: int
    seats: int
    color: str

    @property
    def name(self) -> str:
        """Make and model, as customers call it."""
        return f"{self.make} {self.model}"


@dataclass(frozen=True, slots=True)
class OwnedCar:
    """A customer's own car, found by its plate; `list_price` is its price when new, in Swiss francs."""

    plate: str
    name: str
    year: int
    list_price: int


def is_open(day: date) -> bool:
    """Return whether the showroom is open: Monday to Saturday."""
    return day.weekday() != SUNDAY


def times_offered(vehicle_id: str, day: date) -> tuple[str, ...]:
    """Return the test-drive times of a car on a day, earliest first, at most three.

    The calendar is a pure function of car and day, so it needs no storage. One day in ten is full.
    """
    key = f"calendar\x00{vehicle_id}\x00{day.isoformat()}"
    if not is_open(day) or digest_number(key) % 10 == 0:
        return ()
    n_times = 2 + digest_number(f"{key}\x00n") % (MAX_TIMES_A_DAY - 1)
    return tuple(sorted(shuffled(TEST_DRIVE_TIMES, key=key)[:n_times]))
