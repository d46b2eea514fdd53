"""`tool-sft check`: every kind of finding with its place, the exit code, and the same refusal before training."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.support.checking import as_lines, run_check, session
from tests.support.quick import QUICKSTART
from trainer.commands.main import main
from trainer.config import Config
from trainer.data.findings import TITLES
from trainer.errors import DataError
from trainer.training.train import train_run

NAMES = ["Ana", "Bo", "Cleo", "Dan", "Eve", "Finn", "Gus", "Hal"]
CITIES = ["Vis", "Split", "Hvar", "Zadar", "Rab", "Krk", "Cres", "Pula"]


def good(n: int = 8) -> list[dict[str, Any]]:
    return [session(name, city=city) for name, city in zip(NAMES[:n], CITIES, strict=False)]


def files(train: list[Any], test: list[Any] | None = None) -> dict[str, bytes]:
    return {"rows/train.jsonl": as_lines(train), "rows/test.jsonl": as_lines(test or good()[6:])}


def test_good_data_has_no_error(tmp_path: Path) -> None:
    found = run_check(tmp_path, files(good(6)))
    assert (found.code, found.kinds("error"), found.kinds("warning")) == (0, set(), set())
    assert "no errors, no warnings" in found.out
    assert found.report is not None
    assert (found.report["train"]["n_sessions"], found.report["eval"]["n_sessions"]) == (6, 2)
    assert found.report["tools"] == [{"name": "weather", "n_sessions": 8, "n_train_calls": 6, "n_eval_calls": 2}]
    assert found.report["train"]["n_call_turns"] == found.report["train"]["n_no_call_turns"] == 6
    assert sum(one["n_rows"] for one in found.report["train"]["length_bins"]) == 6


def test_every_kind_of_error_is_found_at_once(tmp_path: Path) -> None:
    rows: list[Any] = good(6)
    rows[1]["messages"][1]["tool_calls"][0]["function"]["arguments"] = '{"city": 5, "town": "Vis"}'
    rows[2]["messages"][0]["contents"] = "Hi"
    for message in rows[3]["messages"]:
        message["train"] = False
    rows[4]["id"] = "Ana"
    found = run_check(tmp_path, files(rows, [session("Finn", city="Krk"), *good()[6:]]))
    assert found.code == 1
    expected = {"invalid_call", "unreadable_row", "nothing_to_learn", "repeated_id", "in_both_splits"}
    assert found.kinds("error") == expected
    assert found.report is not None
    lines = {(f["kind"], f["place"].rpartition("/")[2], f["session_id"]) for f in found.report["findings"]}
    assert lines >= {
        ("invalid_call", "train.jsonl:2", "Bo"),
        ("unreadable_row", "train.jsonl:3", "Cleo"),
        ("nothing_to_learn", "train.jsonl:4", "Dan"),
        ("repeated_id", "train.jsonl:5", "Ana"),
        ("in_both_splits", "test.jsonl:1", "Finn"),
    }
    assert "6 errors" in found.out  # two in one call
    assert all(TITLES[kind] in found.out for kind in expected)  # type: ignore[index]


def test_every_kind_of_warning_is_found(tmp_path: Path) -> None:
    rows: list[Any] = good(4)
    rows.append({**session("Ana", city="Vis"), "id": "Ana again"})
    rows[1]["messages"][0]["content"] += " <|im_end|>"
    rows[2]["messages"][0]["content"] += " dry" * 9000
    unused = {"type": "function", "function": {"name": "unused", "parameters": {"type": "object", "properties": {}}}}
    once = {"type": "function", "function": {"name": "once", "parameters": {"type": "object", "properties": {}}}}
    rows[3]["tools"] = [*rows[3]["tools"], unused, once]
    rows[3]["messages"][1]["tool_calls"][0]["function"] = {"name": "once", "arguments": "{}"}
    copied = {**session("Ana", city="Vis"), "id": "copied"}
    near = {**session("Cleo", city="Hvar"), "id": "near"}
    near["messages"][3]["content"] = near["messages"][3]["content"].replace("sunny", "rainy")
    rows.append({**session("Cleo", city="Hvar"), "id": "Cleo short"})
    long = session("Hal")
    long["messages"][3]["content"] = "word " * 300
    found = run_check(tmp_path, files(rows, [copied, near, long]))
    assert found.code == 0
    expected = {
        "same_content", "near_duplicate", "duplicate", "over_long", "gold_too_long", "literal_special_token",
        "tool_never_called", "tool_not_evaluated",
    }  # fmt: skip
    assert found.kinds("warning") == expected
    assert all(TITLES[kind] in found.out for kind in expected)  # type: ignore[index]


@pytest.mark.parametrize("keep", ["calls", "answers"])
def test_data_that_cannot_show_the_decision_to_call_is_named(keep: str, tmp_path: Path) -> None:
    rows = good()
    for row in rows:
        row["messages"] = row["messages"][:2] if keep == "calls" else [row["messages"][0], row["messages"][3]]
    found = run_check(tmp_path, files(rows[:6], rows[6:]))
    assert "no_call_turns" in found.kinds("warning")


def test_a_session_that_the_template_cannot_carry_is_an_error(tmp_path: Path) -> None:
    rows = good(6)
    rows[2]["messages"][3]["content"] = "It is <|im_end|> sunny."
    found = run_check(tmp_path, files(rows))
    assert (found.code, found.kinds("error")) == (1, {"unusable_row"})
    assert found.report is not None
    assert [
        (f["session_id"], f["place"].rpartition("/")[2]) for f in found.report["findings"] if f["level"] == "error"
    ] == [("Cleo", "train.jsonl:3")]


def test_a_narrow_log_keeps_tables_within_it_and_each_finding_on_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    rows: list[Any] = good(6)
    rows[2]["messages"][0]["contents"] = "Hi"
    found = run_check(tmp_path, files(rows), "--all")
    assert "\x1b" not in found.out
    finding = next(line for line in found.out.splitlines() if "train.jsonl:3" in line)
    assert "session Cleo: turn 0: " in finding
    assert finding.endswith("did you mean content? Rename or remove it")
    tables = found.out.partition("\nerror: ")[0]
    assert max(map(len, tables.splitlines())) <= 80


def test_rows_with_errors_may_be_dropped(tmp_path: Path) -> None:
    rows: list[Any] = good(6)
    rows[2]["messages"][0]["contents"] = "Hi"
    found = run_check(tmp_path, files(rows), on_bad_row="drop")
    assert (found.code, found.kinds("error"), found.kinds("dropped")) == (0, set(), {"unreadable_row"})
    assert "no errors, 1 session dropped, no warnings" in found.out
    both = run_check(tmp_path, files(rows, rows[:1]), on_bad_row="drop")
    assert (both.code, both.kinds("error")) == (1, {"in_both_splits"})


def test_rows_that_are_all_too_long_say_how_long(tmp_path: Path) -> None:
    found = run_check(tmp_path, files(good(6)), max_context_length=20)
    assert found.code == 1
    assert "no session is left to train on: 6 rows have" in found.out
    assert "and data.max_context_length is 20; raise it, or set data.drop_oversized: false" in found.out


def test_json_goes_to_standard_output(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run_check(tmp_path, files(good(6)))
    assert main(["check", "--config", str(tmp_path / "check.yaml"), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["n_errors"] == 0


def test_all_shows_what_is_cut_otherwise(tmp_path: Path) -> None:
    rows: list[Any] = [{**session(f"{name}{city}", city=city), "wrong": 1} for name in NAMES for city in CITIES]
    for row in rows:
        row["messages"][0]["contents"] = "x"
    few, everything = (run_check(tmp_path, files(rows), *words).out for words in ((), ("--all",)))
    assert "… and 59 more (--all shows them)" in few
    assert everything.count("did you mean content?") == 64


def test_the_shipped_data_has_neither_errors_nor_warnings(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", "--config", str(QUICKSTART)]) == 0
    assert "no errors, no warnings" in capsys.readouterr().out


def test_a_training_stops_at_the_same_errors_before_it_loads_a_model(
    quick_config: Callable[..., Config], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows: list[Any] = good(6)
    rows[1]["messages"][1]["tool_calls"][0]["function"]["arguments"] = '{"town": "Vis"}'
    run_check(tmp_path, files(rows))
    monkeypatch.setattr("trainer.training.build_trainer.load_base_model", None)
    splits = ("data.train_split=train", "data.eval_split=test", f"data.dataset_name={tmp_path / 'rows'}")
    cfg = quick_config("data.load_module=chat_rows", *splits)
    with pytest.raises(
        DataError, match=r"2 errors in the data\n.*train\.jsonl:2: session Bo: turn \d: weather: "
    ) as caught:
        train_run(cfg)
    assert "`tool-sft check` lists all of them" in str(caught.value)
    assert not (tmp_path / "run").exists()


def test_a_domain_without_open_rows_needs_the_two_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(tmp_path)
    for name, text in (("with_names", "from car_sales.data_prep import COLUMNS, session_to_messages\n"), ("bare", "")):
        (tmp_path / name).mkdir()
        (tmp_path / name / "__init__.py").write_text("def build_datasets(cfg): ...\n")
        (tmp_path / name / "data_prep.py").write_text(text)
    words = ["check", "--config", str(QUICKSTART), "--set"]
    assert main([*words, "data.load_module=with_names"]) == 0
    assert main([*words, "data.load_module=bare"]) == 2
