"""The tools of the shipped domains run in a simulated office, whatever a model writes, for `tool-sft chat`."""

import importlib
import json
from datetime import UTC, datetime
from typing import Any

import pytest

from simulator_kit.office import Executor
from tests.support.quick import ROOT
from trainer.config import load_config
from trainer.tools import read_tools

# A domain, a configuration of it, and a call that succeeds.
DOMAINS: dict[str, tuple[str, str, dict[str, Any]]] = {
    "car_sales": ("configs/car_sales/quickstart.yaml", "search_inventory", {"max_price": 90000}),
    "insurance": ("configs/insurance/quickstart.yaml", "advisor_slots", {"channel": "video", "date": "2026-01-07"}),
}
NOW = datetime(2026, 1, 5, 9, 30)

each_domain = pytest.mark.parametrize("name", DOMAINS)


def executor(name: str, now: datetime = NOW) -> Executor:
    made: Executor = importlib.import_module(name).make_tool_executor(load_config(ROOT / DOMAINS[name][0]), now=now)
    return made


def deep(n_levels: int) -> dict[str, Any]:
    nested: dict[str, Any] = {}
    for _ in range(n_levels):
        nested = {"a": nested}
    return nested


@each_domain
def test_a_call_returns_a_json_value_and_the_office_is_always_the_same(name: str) -> None:
    _, tool, arguments = DOMAINS[name]
    result = executor(name)(tool, arguments)
    assert "error" not in result
    assert json.loads(json.dumps(result)) == result == executor(name)(tool, arguments)


@each_domain
@pytest.mark.parametrize(
    "arguments",
    [
        {}, {"extra": 1}, {"date": None}, deep(400), deep(5000), {"max_price": 10**5000}, {"vehicle_id": "\ud800"},
        {"date": "soon"}, {"max_price": float("nan")}, {"driver": {"age": 10**400}}, {"policy_id": ["P1"]},
        {"mileage": 10**400, "plate": "ZH 1", "had_accident": True},
    ],
    ids=range(12),
)  # fmt: skip
def test_nothing_that_a_model_may_write_raises(name: str, arguments: dict[str, Any]) -> None:
    run, path = executor(name), DOMAINS[name][0]
    tools = load_config(ROOT / path).data.tools_path
    assert tools is not None
    for tool in read_tools(ROOT / tools):
        result = run(tool["function"]["name"], arguments)
        json.dumps(result)
        assert set(result) == {"error"}
    assert run("no_such_tool", arguments) == {"error": "unknown tool no_such_tool"}


@pytest.mark.parametrize(
    ("name", "moment", "today"),
    [
        ("car_sales", datetime(2026, 1, 5, 23, 30, tzinfo=UTC), "2026-01-06"),
        ("insurance", datetime(2026, 1, 6, 3, 0, tzinfo=UTC), "2026-01-05"),
        ("insurance", datetime(2026, 1, 6, 3, 0), "2026-01-06"),
    ],
)
def test_today_is_the_day_in_the_time_zone_of_the_configuration(name: str, moment: datetime, today: str) -> None:
    run = executor(name, moment)
    assert run.__self__.today.isoformat() == today  # type: ignore[attr-defined]
