"""The dealership: every tool works as described, and answers mistakes helpfully."""

import json
from datetime import date
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from car_sales.simulator.dealership import Dealership
from car_sales.simulator.stock import OwnedCar, Vehicle, times_offered
from tests.support.samples import schemas_of

SCHEMAS = schemas_of("car_sales")
TODAY = date(2025, 3, 14)
ANNA = {"name": "Anna Keller", "phone": "079 123 45"}


def vehicle(number: int, *, price: int, km: int, make: str = "Skoda", fuel: Any = "diesel") -> Vehicle:
    return Vehicle(
        id=f"V{number}", make=make, model="Octavia", body="estate", fuel=fuel, gearbox="manual",
        year=2020, km=km, price=price, seats=5, color="blue",
    )  # fmt: skip


@pytest.fixture
def dealership() -> Dealership:
    stock = [
        vehicle(1, price=20000, km=60000),
        vehicle(2, price=15000, km=90000),
        vehicle(3, price=30000, km=10000, make="Volvo", fuel="petrol"),
        vehicle(4, price=25000, km=40000),
        vehicle(5, price=27000, km=30000),
    ]
    return Dealership(stock, [OwnedCar("ZH 4817", "Opel Corsa", 2015, 20000)], today=TODAY)


def ask(dealership: Dealership, tool: str, /, **arguments: Any) -> Any:
    return json.loads(dealership.call(tool, arguments))


def free_day(vehicle_id: str, *, n_times: int = 1) -> tuple[str, list[str]]:
    days = (date(2025, 3, day) for day in range(15, 32))
    day, times = next((d, t) for d in days if len(t := times_offered(vehicle_id, d)) >= n_times)
    return day.isoformat(), list(times)


def test_a_search_returns_the_three_cheapest_that_match_all_filters(dealership: Dealership) -> None:
    cars = ask(dealership, "search_inventory", make="Skoda", fuel="diesel", max_price=27000)["cars"]
    assert [car["id"] for car in cars] == ["V2", "V1", "V4"]
    assert ask(dealership, "search_inventory", make="volvo")["cars"] == [
        {"car": "Volvo Octavia", "id": "V3", "price": 30000, "km": 10000}
    ]
    assert ask(dealership, "search_inventory", body="SUV") == {"cars": []}


def test_a_search_needs_a_filter(dealership: Dealership) -> None:
    assert "error" in ask(dealership, "search_inventory")
    assert not Draft202012Validator(SCHEMAS["search_inventory"]).is_valid({})


def test_a_comparison_names_the_cheapest_and_the_least_driven(dealership: Dealership) -> None:
    result = ask(dealership, "compare_vehicles", vehicle_ids=["V1", "V2", "V4"])
    assert result == {"cheapest": "V2", "price": 15000, "fewest_km": "V4", "km": 40000}
    assert "error" in ask(dealership, "compare_vehicles", vehicle_ids=["V1"])


def test_financing_is_an_annuity(dealership: Dealership) -> None:
    result = ask(dealership, "financing_rate", vehicle_id="V1", months=12, down_payment=10000)
    # 10,000 over 12 months at 3.9% a year, from any annuity table: 851.04
    assert result == {"id": "V1", "monthly": 851, "months": 12, "total": 851 * 12}


def test_omitted_arguments_mean_the_defaults_of_the_schema(dealership: Dealership) -> None:
    properties = SCHEMAS["financing_rate"]["properties"]
    defaults = {name: schema["default"] for name, schema in properties.items() if "default" in schema}
    assert len(defaults) == 1
    short = ask(dealership, "financing_rate", vehicle_id="V1", months=48)
    assert short == ask(dealership, "financing_rate", vehicle_id="V1", months=48, **defaults)


def test_an_accident_and_mileage_lower_a_trade_in(dealership: Dealership) -> None:
    def value(mileage: int, had_accident: bool) -> int:
        result = ask(dealership, "trade_in_value", plate="ZH 4817", mileage=mileage, had_accident=had_accident)
        return int(result["value"])

    assert value(50_000, False) > value(150_000, False) > value(150_000, True) > 0


def test_a_booked_time_is_taken_only_for_that_car(dealership: Dealership) -> None:
    day, times = free_day("V1", n_times=2)
    booking = {"vehicle_id": "V1", "date": day, "time": times[0], "customer": ANNA}
    assert ask(dealership, "test_drive_slots", vehicle_id="V1", date=day)["free"] == times
    others_before = ask(dealership, "test_drive_slots", vehicle_id="V2", date=day)
    assert ask(dealership, "book_test_drive", **booking) == {
        "booking": "B1", "car": "Skoda Octavia", "date": day, "time": times[0],
    }  # fmt: skip
    assert ask(dealership, "test_drive_slots", vehicle_id="V1", date=day)["free"] == times[1:]
    again = ask(dealership, "book_test_drive", **booking)
    assert again == {"error": f"{times[0]} is not free", "free": times[1:]}
    assert ask(dealership, "test_drive_slots", vehicle_id="V2", date=day) == others_before


def test_bookings_and_leads_are_numbered_and_failures_use_no_number(dealership: Dealership) -> None:
    day, times = free_day("V1")
    ask(dealership, "send_by_email", topic="offer", name="Anna", email="nonsense")
    assert ask(dealership, "send_by_email", topic="offer", name="Anna", email="a@example.com")["lead"] == "L1"
    booked = ask(dealership, "book_test_drive", vehicle_id="V1", date=day, time=times[0], customer=ANNA)
    assert booked["booking"] == "B2"


@pytest.mark.parametrize(
    ("name", "arguments", "error"),
    [
        ("vehicle_details", {"vehicle_id": "V99"}, "V99 is unknown"),
        ("compare_vehicles", {"vehicle_ids": ["V1", "V99"]}, "V99 is unknown"),
        ("trade_in_value", {"plate": "ZH 1", "mileage": 1, "had_accident": False}, "plate ZH 1 is unknown"),
        (
            "financing_rate",
            {"vehicle_id": "V1", "months": 48, "down_payment": 20000},
            "the down payment must be below 20000",
        ),
        ("test_drive_slots", {"vehicle_id": "V1", "date": "2025-03-16"}, "we are closed on Sundays"),
        ("test_drive_slots", {"vehicle_id": "V1", "date": "2025-03-13"}, "2025-03-13 is in the past"),
        (
            "test_drive_slots",
            {"vehicle_id": "V1", "date": "soon"},
            "soon is not a date written YYYY-MM-DD",
        ),
        (
            "send_by_email",
            {"topic": "offer", "name": "A", "email": "a@example"},
            "a@example is not a valid e-mail",
        ),
        (
            "send_by_email",
            {"topic": "offer", "name": "A", "email": "a@b.ch", "vehicle_id": "V99"},
            "V99 is unknown",
        ),
    ],
)
def test_impossible_requests_are_explained(
    dealership: Dealership, name: str, arguments: dict[str, Any], error: str
) -> None:
    assert Draft202012Validator(SCHEMAS[name]).is_valid(arguments)
    assert ask(dealership, name, **arguments) == {"error": error}


@pytest.mark.parametrize(
    ("name", "arguments", "word"),
    [
        ("open_garage", {}, "open_garage"),
        ("vehicle_details", {}, "vehicle_id"),
        ("vehicle_details", {"vehicle_id": "V1", "color": "red"}, "color"),
        ("vehicle_details", {"vehicle_id": 1}, "vehicle_id"),
        ("financing_rate", {"vehicle_id": "V1", "months": "48"}, "months"),
        ("financing_rate", {"vehicle_id": "V1", "months": float("nan")}, "months"),
        ("financing_rate", {"vehicle_id": "V1", "months": 0}, "months"),
        ("search_inventory", {"fuel": "coal"}, "fuel"),
        ("trade_in_value", {"plate": "ZH 4817", "mileage": 1, "had_accident": "no"}, "had_accident"),
        ("compare_vehicles", {"vehicle_ids": "V1"}, "vehicle_ids"),
        (
            "book_test_drive",
            {"vehicle_id": "V1", "date": "", "time": "", "customer": {"name": "A"}},
            "customer.phone",
        ),
    ],
)
def test_wrong_arguments_are_answered_and_never_raise(
    dealership: Dealership, name: str, arguments: dict[str, Any], word: str
) -> None:
    result = ask(dealership, name, **arguments)
    assert set(result) == {"error"}
    assert word in result["error"]


def test_results_are_compact_and_keep_umlauts(dealership: Dealership) -> None:
    assert dealership.call("vehicle_details", {"vehicle_id": "Vü"}) == '{"error":"Vü is unknown"}'
    assert ", " not in dealership.call("search_inventory", {"max_price": 99999})
