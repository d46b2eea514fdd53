"""Text that no tokenizer and no file can hold, and files in another encoding or form, through `tool-sft check`."""

import copy
import gzip
import json
import random
from pathlib import Path
from typing import Any

import pytest

from tests.layouts.samples import SAMPLES
from tests.layouts.test_mutations import mutated
from tests.support.checking import WEATHER, Checked, as_lines, run_check, session

HALF = "\ud800"
REMEDY = r"\ud800 is half a character (one of a surrogate pair); write all of it, or remove it"
GOOD = [session(name, city=city) for name, city in (("Ana", "Vis"), ("Bo", "Split"), ("Cleo", "Rab"), ("Dan", "Krk"))]
GOOD_LINES = as_lines(GOOD)


def with_half(*path: Any, value: Any = f"a{HALF}b") -> str:
    """The text of a good row with half a surrogate pair at a place."""
    row: Any = copy.deepcopy(session("Eve", city="Pula"))
    inner = row
    for key in path[:-1]:
        inner = inner[key]
    inner[path[-1]] = value
    return json.dumps(row)


ROWS = {
    "content": (with_half("messages", 0, "content"), "turn 0: "),
    "an answer": (with_half("messages", 3, "content"), "turn 3: "),
    "a text part": (with_half("messages", 0, "content", value=[{"type": "text", "text": HALF}]), "turn 0: "),
    "the reasoning": (with_half("messages", 3, "reasoning"), "turn 3: "),
    "an argument": (
        with_half("messages", 1, "tool_calls", 0, "function", "arguments", value=json.dumps({"city": HALF})),
        "turn 1: ",
    ),
    "the id": (with_half("id"), "the session id: "),
    "a description": (with_half("tools", 0, "function", "description"), "tool 1 (weather): "),
    "a schema": (with_half("tools", 0, "function", "parameters", "properties", "x", value={"enum": [HALF]}), "tool 1"),
}


@pytest.mark.parametrize("kind", ROWS)
def test_half_a_character_is_refused_with_its_place(kind: str, tmp_path: Path) -> None:
    line, where = ROWS[kind]
    path = tmp_path / "rows.jsonl"
    found = run_check(tmp_path, {path.name: GOOD_LINES + as_lines([line])}, dataset_name=str(path))
    assert found.report is not None
    errors = [f for f in found.report["findings"] if f["level"] == "error"]
    assert [(f["kind"], f["place"]) for f in errors] == [("unreadable_row", f"{path}:5")]
    assert errors[0]["message"].startswith(where)
    assert REMEDY in errors[0]["message"]


def test_half_a_character_in_what_a_message_shows_damages_no_report(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    lines = as_lines([with_half("messages", 0, HALF), with_half("messages", 0, "role")])
    found = run_check(tmp_path, {path.name: GOOD_LINES + lines}, dataset_name=str(path))
    assert found.report is not None
    messages = [f["message"] for f in found.report["findings"] if f["level"] == "error"]
    assert r'turn 0: unknown key "\ud800"' in messages[0]
    assert "turn 0: role is the text" in messages[1]


def test_half_a_character_in_the_tool_file_is_one_message(tmp_path: Path) -> None:
    tool = {**WEATHER, "function": {**WEATHER["function"], "description": HALF}}
    files = {"rows.jsonl": GOOD_LINES, "tools.json": json.dumps([tool]).encode()}
    found = run_check(
        tmp_path, files, dataset_name=str(tmp_path / "rows.jsonl"), tools_path=str(tmp_path / "tools.json")
    )
    assert (found.code, found.report) == (2, None)
    assert f"tools.json: tool 1 (weather): {REMEDY}" in found.err


NOT_OBJECTS = "none of the first rows is a JSON object; each row must be one. The first one, "
FILES = {
    "a.jsonl": (b"id,messages\n1,2\n", f"{NOT_OBJECTS}{{path}}:1: not valid JSON: Expecting value"),
    "commas.jsonl": (GOOD_LINES.replace(b"}\n", b"},\n"), f"{NOT_OBJECTS}{{path}}:1: not valid JSON: Extra data"),
    "list.jsonl": (json.dumps(GOOD).encode(), f"{NOT_OBJECTS}{{path}}:1: the row is a list of 4"),
    "numbers.json": (b"[7, 8]", f"{NOT_OBJECTS}{{path}}, row 1: the row is the number 7"),
    "packed.jsonl": (gzip.compress(GOOD_LINES, mtime=0), "{path} cannot be read: 'utf-8' codec can't decode byte 0x8b"),
    "wide.json": (json.dumps(GOOD).encode("utf-16"), "can't decode byte 0xff in position 0: invalid start byte; save"),
    "packed.jsonl.gz": (gzip.compress(GOOD_LINES, mtime=0), "has no known file type; use .arrow, .csv, .json"),
}


def checked_file(name: str, content: bytes, folder: Path) -> Checked:
    return run_check(folder, {name: content}, dataset_name=str(folder / name))


@pytest.mark.parametrize("name", FILES)
def test_a_file_in_another_form_says_what_was_found(name: str, tmp_path: Path) -> None:
    content, expected = FILES[name]
    found = checked_file(name, content, tmp_path)
    assert (found.code, found.report) == (2, None)
    assert expected.replace("{path}", str(tmp_path / name)) in found.err


def test_a_file_in_another_encoding_is_to_be_saved_as_utf_8(tmp_path: Path) -> None:
    assert "; save it as UTF-8" in checked_file("rows.jsonl", GOOD_LINES.decode().encode("utf-16"), tmp_path).err
    files = {"rows.jsonl": GOOD_LINES, "tools.json": json.dumps([WEATHER]).encode("utf-16")}
    found = run_check(
        tmp_path, files, dataset_name=str(tmp_path / "rows.jsonl"), tools_path=str(tmp_path / "tools.json")
    )
    assert "; save the file as UTF-8" in found.err


def test_a_number_with_thousands_of_digits_is_refused_in_plain_words(tmp_path: Path) -> None:
    line = json.dumps({**session("Eve"), "id": 0}).replace('"id": 0', f'"id": {"9" * 5000}')
    found = checked_file("rows.jsonl", GOOD_LINES + as_lines([line]), tmp_path)
    assert "not valid JSON: a number has 5000 digits, which is out of range" in found.out
    assert "set_int_max_str_digits" not in found.out


HOSTILE = (HALF, "\0", "\u2028", "<|im_end|>", "<tool_call>", "</think>", "{{ x }}", "{% raw %}", 10**30, 1e300, True)


@pytest.mark.parametrize("layout", SAMPLES)
def test_mutated_rows_go_through_the_whole_check(layout: str, tmp_path: Path) -> None:
    rng, good = random.Random(layout), list(SAMPLES[layout].rows)
    rows = [*map(json.dumps, good), *(mutated(rng, good, HOSTILE) for _ in range(120))]
    path = tmp_path / "rows.jsonl"
    found = run_check(tmp_path, {path.name: as_lines(rows)}, dataset_name=str(path), layout=layout, on_bad_row="drop")
    assert found.report is not None
    assert found.kinds("error") <= {"nothing_left"}  # all held-out rows may be damaged
    splits = (found.report["train"], found.report["eval"])
    assert sum(split["n_sessions"] for split in splits) == sum(bool(row.strip()) for row in rows)
    assert sum(split["n_dropped_sessions"] for split in splits) > 10
