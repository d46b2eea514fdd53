"""The rows that the documentation shows are rows of the layouts that it names."""

import json
import re
from typing import Any

import pytest

from tests.support.quick import ROOT
from trainer.layouts import detect_layout, layouts

TEXT = (ROOT / "docs" / "data.md").read_text(encoding="utf-8")
SHOWN = {name: json.loads(row) for name, row in re.findall(r"^`(\w+)`:.*?```json\n(.*?)```", TEXT, re.M | re.S)}


def test_every_layout_is_shown() -> None:
    assert {*SHOWN, "apigen_mt"} == set(layouts())


@pytest.mark.parametrize("name", SHOWN)
def test_a_shown_row_is_recognized_and_read(name: str) -> None:
    row: dict[str, Any] = SHOWN[name]
    found = detect_layout([row])
    assert found.layout.name == name
    read = found.layout.read(row)
    calls = [call["function"] for message in read.messages for call in message.get("tool_calls") or ()]
    assert calls == [{"name": "find_ferry", "arguments": {"to": "Texel"}}]
    assert [tool["function"]["name"] for tool in read.tools or ()] == ["find_ferry"]
    if name != "xlam":
        assert read.messages[-1]["content"] == "At 9:30."
