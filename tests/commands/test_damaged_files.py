"""Damaged files of rows and of tools: each kind has a message of its own, with place and remedy, and no traceback."""

import json
from pathlib import Path
from typing import Any

import datasets
import pytest

from tests.layouts.samples import SAMPLES
from tests.layouts.samples.damaged import DAMAGED
from tests.support.checking import WEATHER, Checked, as_lines, run_check, session

LAYOUTS = sorted({case.layout for case in DAMAGED})
GOOD = [session(name, city=city) for name, city in (("Ana", "Vis"), ("Bo", "Split"), ("Cleo", "Rab"), ("Dan", "Krk"))]


def test_there_are_many_kinds() -> None:
    assert len(DAMAGED) + len(LINES) >= 100
    assert len(FILES) + len(TOOL_FILES) >= 40


@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_damaged_row_is_named_with_its_line(layout: str, tmp_path: Path) -> None:
    good, cases = SAMPLES[layout].rows, [case for case in DAMAGED if case.layout == layout]
    lines = as_lines([*good, *(case.row for case in cases)])
    found = run_check(tmp_path, {"rows.jsonl": lines}, dataset_name=str(tmp_path / "rows.jsonl"), layout=layout)
    assert found.code == 1
    assert found.report is not None
    by_line = {f["place"].rpartition(":")[2]: f["message"] for f in found.report["findings"] if f["level"] == "error"}
    for number, case in enumerate(cases, start=len(good) + 1):
        message = by_line[str(number)]
        assert all(part in message for part in case.expected), (case.kind, message)
    assert not {str(number) for number in range(1, len(good) + 1)} & by_line.keys()


def spoiled(**changes: Any) -> dict[str, Any]:
    return {**session("Eve", city="Pula"), **changes}


def first_message(**changes: Any) -> dict[str, Any]:
    row = session("Eve", city="Pula")
    row["messages"][0] = {**row["messages"][0], **changes}
    return row


LINES: dict[str, tuple[Any, str]] = {
    "cut off": ('{"id": "x", "messages": [{"role": "us', "not valid JSON"),
    "two values on a line": ("{} {}", "not valid JSON: Extra data"),
    "a key twice": ('{"id": "x", "id": "y", "messages": []}', 'the key "id" appears twice in one object'),
    "a key of a message twice": ('{"messages": [{"role": "user", "role": "user"}]}', 'the key "role" appears twice'),
    "NaN": (json.dumps(spoiled(score=float("nan"))), "not valid JSON: NaN is not JSON"),
    "a number out of range": ('{"id": "x", "n": 1e999}', "not valid JSON: 1e999 is out of range"),
    "nested without end": ("[" * 200_000, "nested too deeply"),
    "nested deeply": (spoiled(extra=json.loads("[" * 90 + "]" * 90)), "more than 64 nested"),
    "a number": ("7", "the row is the number 7"),
    "a text": ('"hello"', "the row is the text 'hello'"),
    "null": ("null", "the row is null"),
    "an id that is a list": (spoiled(id=["a"]), "the session id is a list of 1"),
    "an id that is a truth value": (spoiled(id=True), "the session id is true"),
    "tools that are a number": (spoiled(tools=7), "the tools are the number 7"),
    "tools that are text": (spoiled(tools="weather"), "the list of tools is not JSON"),
    "a tool without a name": (spoiled(tools=[{"type": "function", "function": {}}]), "the tool's name is null"),
    "two tools of one name": (spoiled(tools=[WEATHER, WEATHER]), "two tools have the name weather"),
    "a broken schema": (
        spoiled(tools=[{**WEATHER, "function": {**WEATHER["function"], "parameters": {"type": "object", "properties": 5}}}]),  # noqa: E501
        "properties",
    ),
    "content that is true": (first_message(content=True), "turn 0: content is true"),
    "content that is a picture": (first_message(content=[{"type": "image_url", "image_url": "x"}]), 'allowed: "text"'),
    "a misspelt key": (first_message(contnt="x"), 'unknown key "contnt"; did you mean content?'),
    "an undeclared argument": (
        json.dumps(spoiled()).replace('{\\"city\\"', '{\\"town\\": 1, \\"city\\"'),
        "turn 1: weather: $: undeclared argument 'town'; declared: city, days; correct the call",
    ),
}  # fmt: skip


def test_every_damaged_line_is_named_with_its_number(tmp_path: Path) -> None:
    content = as_lines([*GOOD, *(line for line, _ in LINES.values())])
    found = run_check(tmp_path, {"rows.jsonl": content}, dataset_name=str(tmp_path / "rows.jsonl"), layout="openai")
    assert found.code == 1
    assert found.report is not None
    by_line = {f["place"].rpartition(":")[2]: f["message"] for f in found.report["findings"] if f["level"] == "error"}
    messages = []
    for number, (kind, (_, expected)) in enumerate(LINES.items(), start=len(GOOD) + 1):
        messages.append(by_line[str(number)])
        assert expected in messages[-1], (kind, messages[-1])
    assert len(set(messages)) == len(messages)
    assert all(len(message) < 500 for message in messages)


GOOD_LINES = as_lines(GOOD)
FILES: dict[str, tuple[dict[str, bytes], str]] = {
    "rows.jsonl": ({}, "does not exist"),
    "empty.jsonl": ({"empty.jsonl": b""}, "has no rows"),
    "blank.jsonl": ({"blank.jsonl": b"\n\n  \n"}, "has no rows"),
    "utf16.jsonl": ({"utf16.jsonl": GOOD_LINES.decode().encode("utf-16")}, "cannot be read: 'utf-8' codec"),
    "latin.jsonl": ({"latin.jsonl": GOOD_LINES.replace(b"Ana", "Añä".encode("latin-1"))}, "cannot be read: 'utf-8'"),
    "zip.jsonl": ({"zip.jsonl": b"PK\x03\x04" + bytes(range(256))}, "cannot be read: 'utf-8' codec"),
    "object.json": ({"object.json": b'{"a": 1}'}, "it must hold a list of rows"),
    "cut.json": ({"cut.json": b'[{"id": "a"'}, "cannot be read: Expecting"),
    "lines.json": ({"lines.json": GOOD_LINES}, "cannot be read: Extra data"),
    "twice.json": ({"twice.json": b'[{"a": 1, "a": 2}]'}, 'the key "a" appears twice'),
    "deep.json": ({"deep.json": b"[" * 100_000}, "nested too deeply"),
    "none.json": ({"none.json": b"[]"}, "has no rows"),
    "numbers.jsonl": ({"numbers.jsonl": b"1\n2\n"}, "none of the first rows is a JSON object"),
    "text.txt": ({"text.txt": b"Hello"}, "has no known file type"),
    "noise.parquet": ({"noise.parquet": b"PAR1 no"}, "noise.parquet"),
    "folder": ({"folder/notes.md": b"Hello"}, "folder"),
    "only.jsonl": ({"only.jsonl": as_lines(GOOD[:1])}, "nothing to hold out from"),
    "other.jsonl": ({"other.jsonl": as_lines([{"text": "a"}] * 3)}, "no layout fits the columns text"),
    "dir.jsonl": ({"dir.jsonl/x.txt": b"a"}, "dir.jsonl"),
}


@pytest.mark.parametrize("name", FILES)
def test_a_file_that_cannot_be_read_at_all_is_one_message(name: str, tmp_path: Path) -> None:
    files, expected = FILES[name]
    found = run_check(tmp_path, files, dataset_name=str(tmp_path / name))
    assert (found.code, found.report) == (2, None)
    assert expected in found.err
    assert Path(name).stem in error_line(found)


def error_line(found: Checked) -> str:
    return next(line for line in found.err.splitlines() if line.startswith("error: "))


def test_a_byte_order_mark_is_no_damage(tmp_path: Path) -> None:
    found = run_check(tmp_path, {"rows.jsonl": b"\xef\xbb\xbf" + GOOD_LINES}, dataset_name=str(tmp_path / "rows.jsonl"))
    assert found.code == 0


def test_structs_of_a_table_format_are_restored_or_refused_by_name(tmp_path: Path) -> None:
    rows: list[Any] = [json.loads(json.dumps(row)) for row in GOOD]
    for number, row in enumerate(rows):
        function = row["messages"][1]["tool_calls"][0]["function"]
        function["arguments"] = {"city": "Vis", "days": number} if number else {"city": None, "days": 3}
        row["tools"] = json.dumps(row["tools"])
    datasets.Dataset.from_list(rows).to_parquet(tmp_path / "rows.parquet")
    found = run_check(tmp_path, {}, dataset_name=str(tmp_path / "rows.parquet"))
    assert found.code == 1
    assert (
        'rows.parquet, row 1: session Ana: turn 1, call 0: the call to "weather": argument "city" is null' in found.out
    )


def tool(**changes: Any) -> dict[str, Any]:
    return {"type": "function", "function": {**WEATHER["function"], **changes}}


def schema(**changes: Any) -> dict[str, Any]:
    return tool(parameters={**WEATHER["function"]["parameters"], **changes})


TOOL_FILES: dict[str, tuple[Any, str]] = {
    "not there": (None, "tool schemas cannot be read: No such file"),
    "empty": (b"", "not valid JSON"),
    "cut off": (b'[{"type"', "not valid JSON"),
    "a key twice": (b'[{"name": "a", "name": "b"}]', 'the key "name" appears twice'),
    "NaN": (b'[{"name": "a", "x": NaN}]', "NaN is not JSON"),
    "latin-1": ('[{"name": "ä"}]'.encode("latin-1"), "not valid JSON: 'utf-8'"),
    "an empty list": ([], "must hold a non-empty list of tools"),
    "an object": ({"a": 1}, "must hold a non-empty list of tools"),
    "more pages": ({"tools": [WEATHER], "nextCursor": "p2"}, "continues after nextCursor"),
    "a number": ([7], "tool 1: the tool is the number 7"),
    "null": ([WEATHER, None], "tool 2: the tool is null"),
    "no name": ([{"type": "function", "function": {}}], "tool 1: the tool's name is null; give it one"),
    "a blank name": ([tool(name=" ")], "tool 1: the tool's name is blank text"),
    "a name that is a number": ([tool(name=3)], "tool 1: the tool's name is the number 3"),
    "two of one name": ([WEATHER, WEATHER], "tool 2 (weather): tool 1 has the same name; rename or remove one of them"),
    "another type": ([{"type": "retrieval", "function": {"name": "f"}}], "type is the text 'retrieval'; allowed: "),
    "a description that is a list": ([tool(description=["x"])], "description is a list of 1; it must be text"),
    "strict that is text": ([tool(strict="yes")], "strict is 'yes'; must be true or false"),
    "parameters that are a list": ([tool(parameters=[])], "parameters are a list of 0"),
    "parameters that are text": ([tool(parameters="{")], "parameters is not JSON"),
    "not an object": ([schema(type="array")], "tool 1 (weather)"),
    "an unknown type": ([schema(properties={"a": {"type": "text"}})], "tool 1 (weather)"),
    "properties that are a list": ([schema(properties=["city"])], "tool 1 (weather)"),
    "required that is text": ([schema(required="city")], "tool 1 (weather)"),
    "a reference to nowhere": ([schema(properties={"a": {"$ref": "#/$defs/none"}})], "#/$defs/none"),
    "a reference elsewhere": ([schema(properties={"a": {"$ref": "http://example.com/x.json"}})], "example.com"),
    "a reference in a circle": ([schema(properties={"a": {"$ref": "#/properties/a"}})], "tool 1 (weather)"),
    "a broken pattern": ([schema(properties={"a": {"type": "string", "pattern": "("}})], "tool 1 (weather)"),
    "an unknown comparator": ([schema(properties={"a": {"type": "string", "x-compare": "fuzzy"}})], "fuzzy"),
    "both kinds of schema": ([{"name": "f", "parameters": {}, "input_schema": {}}], "both parameters and input_schema"),
}  # fmt: skip


@pytest.mark.parametrize("kind", TOOL_FILES)
def test_a_damaged_tool_file_is_one_message(kind: str, tmp_path: Path) -> None:
    content, expected = TOOL_FILES[kind]
    path = tmp_path / "tools.json"
    files = {"rows/train.jsonl": GOOD_LINES, "rows/test.jsonl": as_lines([session("Eve")])}
    if content is not None:
        files["tools.json"] = content if isinstance(content, bytes) else json.dumps(content).encode()
    found = run_check(tmp_path, files, tools_path=str(path))
    assert (found.code, found.report) == (2, None)
    assert f"error: {path}" in found.err
    assert expected in found.err


def test_damaged_tool_files_have_different_messages(tmp_path: Path) -> None:
    messages = set()
    for number, (content, _) in enumerate(TOOL_FILES.values()):
        folder = tmp_path / str(number)
        files = {"rows/train.jsonl": GOOD_LINES, "rows/test.jsonl": as_lines([session("Eve")])}
        if content is not None:
            files["tools.json"] = content if isinstance(content, bytes) else json.dumps(content).encode()
        error = error_line(run_check(folder, files, tools_path=str(folder / "tools.json")))
        messages.add(error.replace(str(folder), "") + str(content if isinstance(content, list) else ""))
    assert len(messages) >= len(TOOL_FILES) - 1
