"""Rows of every layout become rows of this project's, and nothing is lost without a count."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.layouts.samples import SAMPLES
from tests.layouts.samples.canonical import TOOLS
from tests.layouts.samples.damaged import DAMAGED
from tests.support.conversion import called, convert, row, rows_of, write
from tests.support.quick import ROOT
from trainer.layouts import get_layout

PROJECT = get_layout("project")


@pytest.mark.parametrize("name", SAMPLES)
@pytest.mark.parametrize("given", [False, True])
def test_every_layout_becomes_rows_that_are_read_as_equal_conversations(name: str, given: bool, tmp_path: Path) -> None:
    sample = SAMPLES[name]
    out = tmp_path / "out.jsonl"
    layout = ["--layout", name] if given else []
    assert convert(write(tmp_path / "in.jsonl", sample.rows), out, *layout) == 0
    for source, made in zip(sample.rows, rows_of(out), strict=True):
        before, after = get_layout(name).read(source), PROJECT.read(made)
        assert after.messages == before.messages
        assert after.tools == before.tools
        assert after.converted == ()
        assert after.session_id == (before.session_id or made["session_id"])
        assert made["inferred_date"] == (before.date or "unknown")


@pytest.mark.parametrize("name", SAMPLES)
def test_a_second_conversion_gives_the_same_bytes(name: str, tmp_path: Path) -> None:
    once, twice = tmp_path / "once.jsonl", tmp_path / "twice.jsonl"
    assert convert(write(tmp_path / "in.jsonl", SAMPLES[name].rows), once) == 0
    assert convert(once, twice) == 0
    assert once.read_bytes() == twice.read_bytes()


def test_a_row_has_this_form(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    messages = [
        {"role": "developer", "content": "Be brief."},
        {"role": "user", "content": "天気は？ Zürich"},
        {"role": "assistant", "content": None, "weight": 0, "reasoning": "Look it up.",
         "function_call": {"name": "weather", "arguments": {"city": "Zürich"}}},
        {"role": "function", "name": "weather", "content": "☀️"},
        {"role": "assistant", "content": "Sunny."},
    ]  # fmt: skip
    out = tmp_path / "out.jsonl"
    source = write(tmp_path / "in.jsonl", [row(*messages, functions=[TOOLS[0]["function"]], date="2025-03-14T10:00")])
    assert convert(source, out) == 0
    (made,) = rows_of(out)
    assert made.pop("session_id").startswith("row-")
    assert made == {
        "inferred_date": "2025-03-14",
        "conversation": [
            {"role": "system", "content": "Be brief."},
            {"role": "user", "content": "天気は？ Zürich"},
            {"role": "assistant", "content": "", "reasoning_content": "Look it up.", "tool_calls": [
                {"id": "call00000", "type": "function",
                 "function": {"name": "weather", "arguments": '{"city": "Zürich"}'}}], "train": False},
            {"role": "tool", "content": "☀️", "tool_call_id": "call00000", "name": "weather"},
            {"role": "assistant", "content": "Sunny."},
        ],
        "tools": [TOOLS[0]],
    }  # fmt: skip
    assert "天気は？ Zürich" in out.read_text(encoding="utf-8")
    assert "  1 × date and time read as date\n" in capsys.readouterr().out


def test_what_was_taken_for_what_and_the_counts_are_printed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    messages = [{"role": "developer", "content": "Be brief."}, *row()["messages"]]
    rows = [row(*messages, id=f"s{n}", mood="good") for n in range(18)]
    assert convert(write(tmp_path / "in.jsonl", rows), tmp_path / "out.jsonl") == 0
    told = capsys.readouterr()
    assert "The rows have the layout openai (looked at: 18)." in told.out
    assert 'Role "developer" means system (18 turns).' in told.out
    assert "rows read: 18\nrows written: 18\n" in told.out
    assert "  18 × role developer read as system\n" in told.out
    assert "  18 × mood\n" in told.out
    assert "18/18 rows" in told.err


def test_rows_that_cannot_be_read_are_counted_named_and_reported(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bad: list[Any] = [
        "{not json", "5", "null", '"text"', {"messages": "x"}, row(id=[1]), row(date="in March"), row(date=5),
        row({"role": "user", "content": 4}), row({"role": "robot", "content": "Hi"}), row(None),
        row(*called('{"city": NaN}')), row(*called("[]")), row(tools=5), row(tools=[{"name": 3}]),
        row(date="2025-03-145"), row(date="2025-02-30"),
    ]  # fmt: skip
    source = write(tmp_path / "in.jsonl", [row(id="a"), "", *bad, row(id="b")])
    out, report = tmp_path / "out.jsonl", tmp_path / "bad" / "report.jsonl"
    assert convert(source, out, "--report", report) == 1
    assert [made["session_id"] for made in rows_of(out)] == ["a", "b"]
    told = capsys.readouterr().out
    assert "rows read: 19\nrows written: 2\n" in told
    assert f"rows not converted: 17\n  {source}:3: not valid JSON" in told
    assert f"  {source}:4: the row is the number 5" in told
    assert f"  and 7 more; {report} has all of them" in told
    reported = rows_of(report)
    assert [one["place"] for one in reported] == [f"{source}:{line}" for line in range(3, 20)]
    assert "the date is the text 'in March'; write it as YYYY-MM-DD or \"unknown\"" in reported[6]["reason"]


@pytest.mark.parametrize("case", DAMAGED, ids=lambda case: f"{case.layout}: {case.kind}")
def test_a_damaged_row_is_never_written(case: Any, tmp_path: Path) -> None:
    good = SAMPLES[case.layout].rows
    out, report = tmp_path / "out.jsonl", tmp_path / "report.jsonl"
    source = write(tmp_path / "in.jsonl", [*good, json.dumps(case.row)])
    assert convert(source, out, "--layout", case.layout, "--report", report) == 1
    assert len(rows_of(out)) == len(good)
    (reported,) = rows_of(report)
    assert reported["place"] == f"{source}:{len(good) + 1}"
    assert all(part in reported["reason"] for part in case.expected)


def test_the_summary_as_json(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source, out = write(tmp_path / "in.jsonl", [row(extra=1), row(), 5]), tmp_path / "out.jsonl"
    assert convert(source, out, "--json") == 1
    summary = json.loads(capsys.readouterr().out)
    assert summary.pop("explanation")[0] == "The rows have the layout openai (looked at: 2)."
    assert summary.pop("layout")["messages"] == "messages"
    assert summary.pop("not_converted")[0]["place"] == f"{source}:3"
    assert summary == {
        "rows_read": 3, "rows_written": 2, "rows_not_converted": 1, "rows_with_repeated_session_id": 0,
        "files": {str(out): 2}, "converted": {"session id made from the row's content": 2},
        "columns_left_out": {"extra": 1},
    }  # fmt: skip


def test_repeated_ids_are_kept_and_counted(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "out.jsonl"
    assert convert(write(tmp_path / "in.jsonl", [row(id=name) for name in ("a", "b", 1, "a", "a", "1")]), out) == 0
    assert [made["session_id"] for made in rows_of(out)] == ["a", "b", "1", "a", "a", "1"]
    assert "warning: rows with the session id of an earlier row: 3 (a, 1)" in capsys.readouterr().err


def test_an_id_made_of_the_content_does_not_depend_on_the_place(tmp_path: Path) -> None:
    rows = [row({"role": "user", "content": name}, {"role": "assistant", "content": "Ok"}) for name in "ab"]
    first, second = tmp_path / "first.jsonl", tmp_path / "second.jsonl"
    assert convert(write(tmp_path / "in.jsonl", rows), first) == 0
    assert convert(write(tmp_path / "back.jsonl", rows[::-1]), second) == 0
    assert rows_of(first) == rows_of(second)[::-1]
    assert len({made["session_id"] for made in rows_of(first)}) == 2


def test_the_layout_and_its_columns_may_be_given(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = [{"chat": row()["messages"], "note": 1, "key": "a", "date": "in March"}]
    source, out = write(tmp_path / "in.jsonl", rows), tmp_path / "out.jsonl"
    layout = {"name": "openai", "messages": "chat", "session_id": "key", "date": None}
    assert convert(source, out, "--layout", json.dumps(layout)) == 0
    told = capsys.readouterr().out
    assert "The rows are read with the layout openai, as given (looked at: 1)." in told
    assert "Column chat is read as messages.\n" in told
    assert "Not used: 2 columns (date, note)." in told
    assert rows_of(out)[0]["session_id"] == "a"
    yaml = "{name: openai, messages: chat, session_id: key, date: null}"
    assert convert(source, tmp_path / "same.jsonl", "--layout", yaml) == 0
    assert (tmp_path / "same.jsonl").read_bytes() == out.read_bytes()


def test_the_script_says_how_it_is_used() -> None:
    done = subprocess.run(
        [sys.executable, "scripts/convert.py", "--help"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0
    assert "IN OUT" in done.stdout
    assert "The exit code is 1 if some rows were not converted" in done.stdout
