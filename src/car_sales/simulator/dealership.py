"""The simulated dealership: every tool of `data/tool_calls.json` as a working function.

All answers are compact JSON, including errors, so a model can recover from them. State is kept in memory.
"""

from collections.abc import Callable, Iterable, Mapping
from datetime import date
from typing import Annotated, Literal

from pydantic import Field

from simulator_kit.office import Customer, Office, Result, ToolFailure, check_email

from .stock import SCHEDULE, Body, Fuel, OwnedCar, Vehicle

MAX_HITS = 3
YEARLY_INTEREST = 0.039
MOST_KM = 2_000_000


class Dealership(Office):
    """A showroom with its stock, calendar, finance calculator and customer file, on one day.

    Tools look up cars in `stock` and `registry` (the customers' own cars by plate).
    """

    schedule = SCHEDULE

    def __init__(
        self, stock: Iterable[Vehicle], registry: Iterable[OwnedCar], *, today: date, first_number: int = 1
    ) -> None:
        super().__init__(today=today, first_number=first_number)
        self.stock: Mapping[str, Vehicle] = {vehicle.id: vehicle for vehicle in stock}
        self.registry: Mapping[str, OwnedCar] = {car.plate: car for car in registry}

    @property
    def functions(self) -> tuple[Callable[..., Result], ...]:
        """The tools in the order of `data/tool_calls.json`."""
        return (
            self.search_inventory,
            self.vehicle_details,
            self.compare_vehicles,
            self.financing_rate,
            self.trade_in_value,
            self.test_drive_slots,
            self.book_test_drive,
            self.send_by_email,
        )

    def search_inventory(
        self,
        make: str | None = None,
        body: Body | None = None,
        fuel: Fuel | None = None,
        max_price: int | None = None,
    ) -> Result:
        """Find at most three cars that match all filters, cheapest first."""
        if all(wanted is None for wanted in (make, body, fuel, max_price)):
            raise ToolFailure("at least one filter is needed")
        hits = [
            vehicle
            for vehicle in self.stock.values()
            if (make is None or vehicle.make.casefold() == make.casefold())
            and (body is None or vehicle.body == body)
            and (fuel is None or vehicle.fuel == fuel)
            and (max_price is None or vehicle.price <= max_price)
        ]
        cheapest = sorted(hits, key=lambda vehicle: vehicle.price)[:MAX_HITS]
        return {"cars": [{"car": v.name, "id": v.id, "price": v.price, "km": v.km} for v in cheapest]}

    def vehicle_details(self, vehicle_id: str) -> Result:
        """Return all that is known about one car."""
        vehicle = self._vehicle(vehicle_id)
        return {
            "car": vehicle.name,
            "id": vehicle.id,
            "year": vehicle.year,
            "price": vehicle.price,
            "km": vehicle.km,
            "fuel": vehicle.fuel,
            "gearbox": vehicle.gearbox,
            "seats": vehicle.seats,
            "color": vehicle.color,
        }

    def compare_vehicles(self, vehicle_ids: list[str]) -> Result:
        """Return the cheapest of several cars and the one with the fewest kilometers."""
        if len(vehicle_ids) < 2:
            raise ToolFailure("at least two cars are needed")
        vehicles = [self._vehicle(vehicle_id) for vehicle_id in vehicle_ids]
        cheapest = min(vehicles, key=lambda vehicle: vehicle.price)
        freshest = min(vehicles, key=lambda vehicle: vehicle.km)
        return {
            "cheapest": cheapest.id,
            "price": cheapest.price,
            "fewest_km": freshest.id,
            "km": freshest.km,
        }

    def financing_rate(
        self,
        vehicle_id: str,
        months: Annotated[int, Field(ge=1, le=120)],
        down_payment: Annotated[int, Field(ge=0)] = 0,
    ) -> Result:
        """Return the monthly and total cost of a loan (an annuity)."""
        vehicle = self._vehicle(vehicle_id)
        if down_payment >= vehicle.price:
            raise ToolFailure(f"the down payment must be below {vehicle.price}")
        loan = vehicle.price - down_payment
        rate = YEARLY_INTEREST / 12
        monthly = round(loan * rate / (1 - (1 + rate) ** -months))
        return {"id": vehicle.id, "monthly": monthly, "months": months, "total": monthly * months}

    def trade_in_value(
        self, plate: str, mileage: Annotated[int, Field(ge=0, le=MOST_KM)], had_accident: bool
    ) -> Result:
        """Estimate the value of a customer's own car from its age, its mileage and any accident."""
        car = self.registry.get(plate)
        if car is None:
            raise ToolFailure(f"plate {plate} is unknown")
        age = max(0, self.today.year - car.year)
        value = car.list_price * 0.87**age * max(0.3, 1 - mileage / 400_000)
        value *= 0.75 if had_accident else 1
        return {
            "car": car.name,
            "year": car.year,
            "value": max(500, round(value / 100) * 100),
            "valid_days": 30 if age < 6 else 14,
        }

    def test_drive_slots(self, vehicle_id: str, date: str) -> Result:
        """Return the free test-drive times of a car on a day (YYYY-MM-DD)."""
        vehicle = self._vehicle(vehicle_id)
        day = self.open_day(date)
        return {"id": vehicle.id, "date": date, "free": self.free_times(vehicle.id, day)}

    def book_test_drive(self, vehicle_id: str, date: str, time: str, customer: Customer) -> Result:
        """Book a test drive, after which the time is taken."""
        vehicle = self._vehicle(vehicle_id)
        self.take(vehicle.id, self.open_day(date), time)
        return {"booking": f"B{self.number()}", "car": vehicle.name, "date": date, "time": time}

    def send_by_email(
        self,
        topic: Literal["offer", "brochure", "newsletter"],
        *,
        vehicle_id: str | None = None,
        name: str,
        email: str,
    ) -> Result:
        """Record what to send to whom."""
        if vehicle_id is not None:
            self._vehicle(vehicle_id)
        check_email(email)
        return {"lead": f"L{self.number()}", "topic": topic}

    def _vehicle(self, vehicle_id: str) -> Vehicle:
        if vehicle_id not in self.stock:
            raise ToolFailure(f"{vehicle_id} is unknown")
        return self.stock[vehicle_id]
