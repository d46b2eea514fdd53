"""The dealership's data: vehicles for sale, the customers' own cars, opening hours and free times.

The tools that use it are in `car_sales.simulator.dealership`.
"""

from dataclasses import dataclass
from datetime import date
from typing import Literal

from simulator_kit.office import Schedule

Body = Literal["SUV", "sedan", "hatchback", "estate"]
Fuel = Literal["petrol", "diesel", "hybrid", "electric"]
Gearbox = Literal["manual", "automatic"]

TEST_DRIVE_TIMES = ("09:00", "10:00", "11:30", "13:00", "14:30", "16:00", "17:00")
SCHEDULE = Schedule(TEST_DRIVE_TIMES, closed=(6,), reason="we are closed on Sundays")


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


def times_offered(vehicle_id: str, day: date) -> tuple[str, ...]:
    """Return the test-drive times of a car on a day, earliest first, at most three."""
    return SCHEDULE.offered(vehicle_id, day)
