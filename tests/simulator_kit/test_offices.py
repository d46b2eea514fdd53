"""Every simulated office implements exactly its domain's tools, with the arguments that their schemas state."""

import json
from datetime import date
from random import Random
from typing import Any, cast

import pytest
from jsonschema import Draft202012Validator
from pydantic import TypeAdapter

from car_sales.simulator.dealership import Dealership
from insurance.simulator.office import InsuranceOffice
from simulator_kit.office import Office, Schedule, ToolFailure, future_day, written_day
from tests.support.quick import ROOT
from tests.support.samples import TOOLS_OF, schemas_of

TODAY = date(2025, 3, 14)
OFFICES: dict[str, Office] = {
    "car_sales": Dealership([], [], today=TODAY),
    "insurance": InsuranceOffice([], rng=Random(1), today=TODAY),
}
TOOLS = [(domain, name) for domain in OFFICES for name in schemas_of(domain)]
SCHEDULE = Schedule(("09:00", "10:00", "11:30", "14:30"), closed=(6,), reason="closed")

each_domain = pytest.mark.parametrize("domain", OFFICES)
each_tool = pytest.mark.parametrize(("domain", "name"), TOOLS)


def plain(schema: Any, definitions: dict[str, Any]) -> Any:
    """A derived schema, reduced to what the tool file contains: no titles, nulls or references."""
    if isinstance(schema, list):
        return [plain(item, definitions) for item in schema]
    if not isinstance(schema, dict):
        return schema
    if "$ref" in schema:
        return plain(definitions[schema["$ref"].rpartition("/")[2]], definitions)
    if "anyOf" in schema:
        (kept,) = [option for option in schema["anyOf"] if option != {"type": "null"}]
        return plain(kept, definitions)
    dropped = ("title", "$defs", "description", "additionalProperties", "minimum", "maximum")
    return {
        key: {name: plain(value, definitions) for name, value in item.items()}
        if key == "properties"
        else plain(item, definitions)
        for key, item in schema.items()
        if key not in dropped
    }


@each_domain
def test_an_office_implements_exactly_the_shipped_tools(domain: str) -> None:
    assert list(OFFICES[domain].tools) == list(schemas_of(domain))


@each_tool
def test_a_signature_matches_its_schema(domain: str, name: str) -> None:
    derived: dict[str, Any] = TypeAdapter(cast(Any, OFFICES[domain].tools[name])).json_schema()
    stated = {key: value for key, value in schemas_of(domain)[name].items() if key != "minProperties"}
    assert plain(derived, derived.get("$defs", {})) == stated
    assert list(derived["properties"]) == list(stated["properties"])


@each_tool
def test_a_schema_is_valid(domain: str, name: str) -> None:
    Draft202012Validator.check_schema(schemas_of(domain)[name])


@each_domain
def test_the_tools_are_described_and_show_every_kind_of_argument(domain: str) -> None:
    tools = json.loads((ROOT / TOOLS_OF[domain]).read_text(encoding="utf-8"))
    assert all(tool["type"] == "function" and tool["function"]["description"] for tool in tools)
    written = json.dumps(tools)
    for kind in ("string", "integer", "boolean", "array", "object"):
        assert f'"type": "{kind}"' in written
    assert '"enum"' in written
    assert '"default"' in written
    schemas = schemas_of(domain).values()
    assert any(set(schema["properties"]) - set(schema.get("required", ())) for schema in schemas)


def test_a_calendar_offers_few_sorted_times_and_none_on_closed_days() -> None:
    days = [date(2025, month, day) for month in range(1, 13) for day in range(1, 29)]
    for day in days:
        times = SCHEDULE.offered("V1", day)
        assert len(times) <= 3
        assert list(times) == sorted(set(times) & set(SCHEDULE.times))
        assert SCHEDULE.is_open(day) == (day.weekday() != 6)
        assert not (day.weekday() == 6 and times)
    assert len({SCHEDULE.offered("V1", day) for day in days}) > 5
    assert [SCHEDULE.offered("V1", day) for day in days] != [SCHEDULE.offered("V2", day) for day in days]


@pytest.mark.parametrize("text", ["soon", "20250314", "2025-W11-5", "2025-02-30", ""])
def test_a_date_has_one_form(text: str) -> None:
    assert written_day("2025-03-14") == TODAY == future_day("2025-03-14", today=TODAY)
    with pytest.raises(ToolFailure, match="is not a date written YYYY-MM-DD"):
        written_day(text)
    with pytest.raises(ToolFailure, match="2025-03-13 is in the past"):
        future_day("2025-03-13", today=TODAY)
