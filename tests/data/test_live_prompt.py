"""A live application gets the prompt that was trained, for its own moment and without a session."""

import re
from datetime import UTC, datetime
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

import car_sales
from tests.support.quick import QUICKSTART
from trainer.config import Config, load_config
from trainer.data import live_prompt
from trainer.errors import ConfigError, DataError
from trainer.tools.wire import wire_tool

FIND = {"name": "find", "inputSchema": {"type": "object", "properties": {"q": {"type": "string"}}}}


def lines_of(text: object) -> list[str]:
    return sorted(line for line in str(text).splitlines() if line.strip())


def test_car_sales_gets_the_trained_prompt_for_now() -> None:
    cfg = load_config(QUICKSTART)
    part = car_sales.open_rows(cfg).train[0]
    session = part.reader.read(part.rows[0]).session
    trained = str(session.messages[0].get("content"))
    found = re.search(r"(\d{4}-\d{2}-\d{2}) (\d{2}):(\d{2})", trained)
    assert found is not None
    moment = datetime.fromisoformat(f"{found[1]}T{found[2]}:{found[3]}")
    live = live_prompt(cfg, now=moment)
    assert [message["role"] for message in live.messages] == ["system"]
    assert lines_of(live.messages[0].get("content")) == lines_of(trained)
    assert sorted(map(str, live.tools)) == sorted(str(wire_tool(tool)) for tool in session.tools)


def test_the_moment_is_shown_in_the_configured_time_zone() -> None:
    cfg = load_config(QUICKSTART)
    text = str(live_prompt(cfg, now=datetime(2026, 1, 5, 9, 30, tzinfo=UTC)).messages[0].get("content"))
    assert "Current DateTime (Europe/Zurich): Monday 2026-01-05 10:30; tomorrow 06.01." in text
    assert "Current DateTime (Europe/Zurich): " in str(live_prompt(cfg).messages[0].get("content"))


def rows_config(tmp_path: Path, *overrides: str) -> Config:
    (tmp_path / "prompt.md").write_text("Be kind. {{current_datetime}}", encoding="utf-8")
    loaded = load_config(QUICKSTART, ["data.load_module=chat_rows", *overrides])
    changed = {"sysprompt_path": tmp_path / "prompt.md", "tools_path": None}
    return loaded.model_copy(update={"data": loaded.data.model_copy(update=changed)})


@pytest.mark.parametrize(
    ("parts", "row", "expected"),
    [
        ("null", None, ["file"]), ("null", "Row.", ["row"]), ("[file, row]", "Row.", ["file", "row"]),
        ("[row, file]", "Row.", ["row", "file"]), ("[file]", "Row.", ["file"]), ("[row]", None, []),
    ],
)  # fmt: skip
def test_chat_rows_joins_the_parts_as_in_training(
    parts: str, row: str | None, expected: list[str], tmp_path: Path
) -> None:
    cfg = rows_config(tmp_path, f"data.system_prompt={parts}")
    live = live_prompt(cfg, now=datetime(2026, 1, 5, 9, 30), row_prompt=row, tools=[FIND])
    line = "Be kind. Current DateTime (Europe/Zurich): Monday 2026-01-05 09:30; tomorrow 06.01."
    text = str(live.messages[0].get("content")) if live.messages else ""
    found = {"file": text.find(line), "row": text.find("Row.")}
    assert [name for name in sorted(found, key=lambda name: found[name]) if found[name] >= 0] == expected
    function = {"name": "find", "parameters": FIND["inputSchema"]}
    assert live.tools == [{"type": "function", "function": function}]


def test_what_cannot_be_built_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bare: Any = ModuleType("bare")
    bare.build_datasets = lambda cfg: None
    monkeypatch.setitem(__import__("sys").modules, "bare", bare)
    with pytest.raises(ConfigError, match="bare has no system_prompt_now"):
        live_prompt(load_config(QUICKSTART, ["data.load_module=bare"]))
    with pytest.raises(DataError, match="the tool's name is null"):
        live_prompt(rows_config(tmp_path), tools=[{"type": "function"}])
