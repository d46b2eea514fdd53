"""Every layout's rows are read as the same conversations written by hand in canonical form."""

from typing import Any

import pytest

from tests.layouts.samples import SAMPLES
from trainer.chat import canonical_messages
from trainer.layouts import detect_layout, get_layout, layouts
from trainer.tools import ToolSpecs
from trainer.types import Call

CASES = [pytest.param(name, index, id=f"{name}-{index}") for name in SAMPLES for index in range(5)]


def without_names(messages: Any) -> list[dict[str, Any]]:
    """Results keep the name that some layouts write; the hand-written ones have none."""
    return [{key: value for key, value in message.items() if key != "name"} for message in messages]


def test_every_layout_has_samples() -> None:
    assert set(SAMPLES) == set(layouts())


@pytest.mark.parametrize(("name", "index"), CASES)
def test_a_row_is_read_as_the_conversation_written_by_hand(name: str, index: int) -> None:
    sample = SAMPLES[name]
    read = get_layout(name).read(sample.rows[index])
    assert without_names(read.messages) == list(sample.sessions[index])
    assert read.tools == sample.tools


@pytest.mark.parametrize(("name", "index"), CASES)
def test_what_is_read_is_canonical_already_and_valid_for_its_tools(name: str, index: int) -> None:
    read = get_layout(name).read(SAMPLES[name].rows[index])
    assert list(canonical_messages(read.messages)) == list(read.messages)
    specs = ToolSpecs(read.tools or ())
    calls = [call["function"] for message in read.messages for call in message.get("tool_calls") or ()]
    assert not [found for call in calls for found in specs.violations(Call(call["name"], call["arguments"]))]


@pytest.mark.parametrize("name", SAMPLES)
def test_a_layout_is_told_by_its_rows_alone(name: str) -> None:
    found = detect_layout(SAMPLES[name].rows)
    assert found.layout.name == name
    read = [found.layout.read(row) for row in SAMPLES[name].rows]
    assert [without_names(one.messages) for one in read] == [list(session) for session in SAMPLES[name].sessions]


def test_session_ids_and_dates_come_from_the_row() -> None:
    first = get_layout("project").read(SAMPLES["project"].rows[0])
    assert (first.session_id, first.date) == ("s1", "2025-03-14")
    assert get_layout("xlam").read(SAMPLES["xlam"].rows[3]).session_id == "3"
    assert get_layout("glaive").read(SAMPLES["glaive"].rows[0]).session_id is None
