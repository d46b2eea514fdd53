"""Training renders tools as vLLM's server rebuilds them from a request."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from trainer.errors import DataError
from trainer.tools import read_tools
from trainer.tools.wire import rendered_tool, wire_tool

PARAMETERS = {"type": "object", "properties": {"a": {"type": "string", "x-compare": "set"}}}


def read(tmp_path: Path, *tools: Any) -> tuple[Mapping[str, Any], ...]:
    path = tmp_path / "tools.json"
    path.write_text(json.dumps(tools), encoding="utf-8")
    return read_tools(path)


def test_keys_come_in_the_order_that_the_server_writes_them(tmp_path: Path) -> None:
    given = {"function": {"parameters": PARAMETERS, "strict": True, "description": "D.", "name": "f"}}
    (tool,) = read(tmp_path, given)
    function = {"name": "f", "description": "D.", "parameters": PARAMETERS, "strict": True}
    assert json.dumps(tool) == json.dumps({"type": "function", "function": function})


def test_what_a_tool_lacks_is_null_in_prompts_and_absent_on_the_wire(tmp_path: Path) -> None:
    (tool,) = read(tmp_path, {"type": "function", "function": {"name": "f", "strict": None}})
    empty = {"name": "f", "description": None, "parameters": None}
    assert json.dumps(tool) == json.dumps({"type": "function", "function": empty})
    assert wire_tool(tool) == {"type": "function", "function": {"name": "f"}}
    assert rendered_tool(wire_tool(tool), where="t").tool == tool


def test_keys_that_no_server_shows_are_left_out_and_named(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    function = {"name": "f", "description": "D.", "parameters": PARAMETERS}
    for _ in range(2):  # the second reading warns no more
        (tool,) = read(tmp_path, {"type": "function", "id": 3, "function": {**function, "return": {"type": "string"}}})
        assert tool == {"type": "function", "function": function}
    (warning,) = caplog.messages
    assert warning.endswith("tools.json: tool 1 (f): no server shows function.return, id to the model; left out")


@pytest.mark.parametrize(
    ("tool", "said"),
    [
        ({"type": "retrieval", "function": {"name": "f"}}, "type is the text 'retrieval'"),
        ({"function": {"name": "f", "description": ["D."]}}, "description is .*must be text"),
        ({"function": {"name": "f", "parameters": True}}, "parameters are true; they must be a JSON Schema object"),
        ({"function": {"name": "f", "strict": "yes"}}, "strict is 'yes'"),
        ({"function": {"description": "D."}}, "the tool's name is null; give it one"),
        ({"function": {"name": " "}}, "the tool's name is blank text; give it one"),
        ({"id": "f"}, "the tool's name is null; give it one"),
        ("find", "the tool is not JSON"),
    ],
)
def test_what_the_server_would_refuse_is_refused_by_name(tmp_path: Path, tool: Any, said: str) -> None:
    with pytest.raises(DataError, match=rf"tools\.json: tool 1.*{said}"):
        read(tmp_path, tool)


def test_the_shipped_tools_render_as_they_are_written() -> None:
    path = Path("data/tool_calls.json")
    assert json.dumps(read_tools(path)) == json.dumps(json.loads(path.read_text(encoding="utf-8")))
