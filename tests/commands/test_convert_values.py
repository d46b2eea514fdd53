"""Nulls are those of the author and never those of a table, and every text comes back as it was."""

import datetime
import json
from pathlib import Path
from typing import Any

import datasets
import pytest

from tests.layouts.samples.canonical import SESSIONS, TOOLS
from tests.support.conversion import called, convert, row, rows_of, write
from trainer.layouts import get_layout

PROJECT = get_layout("project")


def canonical_rows(tools: Any) -> list[dict[str, Any]]:
    return [
        {"id": f"s{n}", "messages": session, **({} if tools is None else {"tools": tools})}
        for n, session in enumerate(SESSIONS)
    ]


@pytest.mark.parametrize("tools", [list(TOOLS), json.dumps(TOOLS)], ids=["list", "text"])
def test_nulls_that_a_table_filled_in_never_appear(tools: Any, tmp_path: Path) -> None:
    """Arrow gives each call the arguments of all tools, and each schema the properties of the other."""
    source, out = tmp_path / "in.parquet", tmp_path / "out.jsonl"
    datasets.Dataset.from_list(canonical_rows(tools)).to_parquet(source)
    assert '"route": null' in json.dumps(datasets.load_dataset("parquet", data_files=str(source), split="train")[0])
    assert convert(source, out) == 0
    assert "null" not in out.read_text(encoding="utf-8")
    made = [PROJECT.read(made) for made in rows_of(out)]
    assert [list(one.messages) for one in made] == [list(session) for session in SESSIONS]
    assert all(one.tools == TOOLS for one in made)


def test_without_tools_nobody_can_tell_which_nulls_a_table_filled_in(tmp_path: Path) -> None:
    source, out, report = tmp_path / "in.parquet", tmp_path / "out.jsonl", tmp_path / "report.jsonl"
    datasets.Dataset.from_list(canonical_rows(None)).to_parquet(source)
    assert convert(source, out, "--report", report) == 1
    assert [made["session_id"] for made in rows_of(out)] == ["s1"]
    refused = rows_of(report)
    assert refused[0]["place"] == f"{source}, row 1"
    assert 'turn 2, call 0: argument "days" of the call to "weather" is null' in refused[0]["reason"]
    tools = tmp_path / "tools.json"
    tools.write_text(json.dumps(TOOLS), encoding="utf-8")
    assert convert(source, out, "--tools", tools, "--overwrite") == 0
    assert [list(PROJECT.read(made).messages) for made in rows_of(out)] == [list(session) for session in SESSIONS]


def test_a_null_of_a_call_to_an_unknown_tool_is_refused(tmp_path: Path) -> None:
    rows = [row(*called({"city": None}, "nowhere"), tools=list(TOOLS)), row(*called({"city": [{"a": None}]}), tools=[])]
    assert convert(write(tmp_path / "in.jsonl", [*rows, row()]), tmp_path / "out.jsonl") == 1
    assert len(rows_of(tmp_path / "out.jsonl")) == 1


def test_nulls_of_the_author_are_kept(tmp_path: Path) -> None:
    schema = {"type": "object", "properties": {"city": {"type": ["string", "null"], "default": None}}}
    tools = json.dumps([{"type": "function", "function": {"name": "weather", "parameters": schema}}])
    rows = [row(*called('{"city": null}')), row(*called({"city": None}), tools=tools)]
    once, twice = tmp_path / "once.jsonl", tmp_path / "twice.jsonl"
    assert convert(write(tmp_path / "in.jsonl", rows), once) == 0
    for source, made in zip(rows, rows_of(once), strict=True):
        assert made["conversation"][1]["tool_calls"][0]["function"]["arguments"] == '{"city": null}'
        assert PROJECT.read(made).tools == get_layout("openai").read(source).tools
    assert convert(once, twice) == 0
    assert once.read_bytes() == twice.read_bytes()


def test_half_a_surrogate_pair_is_kept_as_an_escape(tmp_path: Path) -> None:
    messages = [*called('{"city": "\\udc00"}'), {"role": "tool", "content": "\ud83d"}]
    source = write(tmp_path / "in.jsonl", [json.dumps(row(*messages)), json.dumps({"messages": {"\ud800": 1}})])
    out = tmp_path / "out.jsonl"
    assert convert(source, out, "--report", tmp_path / "report.jsonl") == 1
    assert rows_of(out)[0]["conversation"][2]["content"] == "\ud83d"
    assert json.loads(rows_of(out)[0]["conversation"][1]["tool_calls"][0]["function"]["arguments"])["city"] == "\udc00"
    assert "\ud800" in rows_of(tmp_path / "report.jsonl")[0]["reason"]


def test_a_row_that_would_be_read_back_differently_is_refused(tmp_path: Path) -> None:
    """Each reading takes one block of reasoning out of the text."""
    answers = ["<think>a</think><think>b</think>Ok", "<think>a</think><think></think>Ok"]
    rows = [row(row()["messages"][0], {"role": "assistant", "content": answer}) for answer in answers]
    report = tmp_path / "report.jsonl"
    assert convert(write(tmp_path / "in.jsonl", [*rows, row()]), tmp_path / "out.jsonl", "--report", report) == 1
    assert rows_of(tmp_path / "out.jsonl")[0]["conversation"] == row()["messages"]
    unreadable, different = (refused["reason"] for refused in rows_of(report))
    assert unreadable.startswith("the row could not be read back: turn 1: the turn has reasoning in its content")
    assert different.startswith("turn 1: it would be read differently")


def test_a_value_without_a_json_form_is_refused(tmp_path: Path) -> None:
    source, report = tmp_path / "in.parquet", tmp_path / "report.jsonl"
    times = [datetime.datetime(2025, 3, 14, 10), None]
    tools = [{"name": "weather", "parameters": {"type": "object", "properties": {"at": {"type": "string"}}}}]
    datasets.Dataset.from_list([row(*called({"at": at}), tools=tools) for at in times]).to_parquet(source)
    assert convert(source, tmp_path / "out.jsonl", "--report", report) == 1
    assert rows_of(tmp_path / "out.jsonl")[0]["conversation"][1]["tool_calls"][0]["function"]["arguments"] == "{}"
    assert 'turn 1: the arguments of the call to "weather" cannot be written as JSON' in rows_of(report)[0]["reason"]
