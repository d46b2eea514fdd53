"""The simulated dealership: every tool of `data/tool_calls.json` as a working function.

All answers are compact JSON, including errors, so a model can recover from them. State is kept in memory.
"""

import json
import re
from collections.abc import Callable, Iterable, Mapping
from datetime import date
from functools import cached_property
from typing import Annotated, Any, Literal, cast

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from .stock import Body, Fuel, OwnedCar, Vehicle, is_open, times_offered

MAX_HITS = 3
YEARLY_INTEREST = 0.039
_EMAIL = re.compile(r"[^@\s]+@[^@\s]+\.[^@\s]+")

Result = dict[str, Any]
"""The answer of a tool, before it is written as JSON."""


class ToolFailure(Exception):
    """A request that the dealership cannot fulfill; the model sees `{"error": message, **hints}`."""

    def __init__(self, message: str, **hints: Any) -> None:
        super().__init__(message)
        self.result: Result = {"error": message, **hints}


class Customer(BaseModel):
    """The person who drives: the nested argument of `book_test_drive`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str
    phone: str


class Dealership:
    """A showroom with its stock, calendar, finance calculator and customer file, on one day.

    Tools look up cars in `stock` and `registry` (the customers' own cars by plate). `today` separates past from
    future. `first_number` is the number of the first booking or lead. A booked slot stays taken.
    """

    def __init__(
        self, stock: Iterable[Vehicle], registry: Iterable[OwnedCar], *, today: date, first_number: int = 1
    ) -> None:
        self.stock: Mapping[str, Vehicle] = {vehicle.id: vehicle for vehicle in stock}
        self.registry: Mapping[str, OwnedCar] = {car.plate: car for car in registry}
        self.today = today
        self._next_number = first_number
        self._taken: set[tuple[str, date, str]] = set()

    @cached_property
    def tools(self) -> Mapping[str, Callable[..., Result]]:
        """The tools by name, in the order of `data/tool_calls.json`."""
        functions = (
            self.search_inventory,
            self.vehicle_details,
            self.compare_vehicles,
            self.financing_rate,
            self.trade_in_value,
            self.test_drive_slots,
            self.book_test_drive,
            self.send_by_email,
        )
        return {function.__name__: function for function in functions}

    @cached_property
    def _adapters(self) -> Mapping[str, TypeAdapter[Result]]:
        # The adapter of a function checks the arguments and then calls the function.
        return {name: TypeAdapter[Result](cast(Any, function)) for name, function in self.tools.items()}

    def call(self, name: str, arguments: Mapping[str, Any]) -> str:
        """Run one tool and return its result as compact JSON.

        Never raises for anything that a model may write: an unknown tool, wrong arguments and impossible
        requests are answered with `{"error": ...}`.
        """
        return json.dumps(self._run(name, arguments), ensure_ascii=False, separators=(",", ":"))

    def _run(self, name: str, arguments: Mapping[str, Any]) -> Result:
        if name not in self.tools:
            return {"error": f"unknown tool {name}"}
        try:
            # With JSON input, pydantic checks types strictly and still builds the nested customer.
            return self._adapters[name].validate_json(json.dumps(dict(arguments)), strict=True)
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(str(part) for part in first["loc"])
            return {"error": f"{where}: {first['msg'].lower()}" if where else first["msg"].lower()}
        except ToolFailure as failure:
            return failure.result

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

    def trade_in_value(self, plate: str, mileage: Annotated[int, Field(ge=0)], had_accident: bool) -> Result:
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
        day = self._open_day(date)
        return {"id": vehicle.id, "date": date, "free": self._free_times(vehicle.id, day)}

    def book_test_drive(self, vehicle_id: str, date: str, time: str, customer: Customer) -> Result:
        """Book a test drive, after which the time is taken."""
        vehicle = self._vehicle(vehicle_id)
        day = self._open_day(date)
        free = self._free_times(vehicle.id, day)
        if time not in free:
            raise ToolFailure(f"{time} is not free", free=free)
        self._taken.add((vehicle.id, day, time))
        return {"booking": f"B{self._number()}", "car": vehicle.name, "date": date, "time": time}

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
        if not _EMAIL.fullmatch(email):
            raise ToolFailure(f"{email} is not a valid e-mail")
        return {"lead": f"L{self._number()}", "topic": topic}

    def _vehicle(self, vehicle_id: str) -> Vehicle:
        if vehicle_id not in self.stock:
            raise ToolFailure(f"{vehicle_id} is unknown")
        return self.stock[vehicle_id]

    def _open_day(self, text: str) -> date:
        try:
            day = date.fromisoformat(text)
        except ValueError:
            raise ToolFailure(f"{text} is not a date written YYYY-MM-DD") from None
        if day < self.today:
            raise ToolFailure(f"{text} is in the past")
        if not is_open(day):
            raise ToolFailure("we are closed on Sundays")
        return day

    def _free_times(self, vehicle_id: str, day: date) -> list[str]:
        return [time for time in times_offered(vehicle_id, day) if (vehicle_id, day, time) not in self._taken]

    def _number(self) -> int:
        number = self._next_number
        self._next_number += 1
        return number
