"""The shipped sample data: it shows what it should, and the dealership really gave the answers in it."""

import importlib.util
import json
import os
import re
import subprocess
import sys
from collections import Counter
from datetime import date, timedelta
from itertools import pairwise
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from car_sales.prompt import DAYS_AHEAD, WEEKDAYS, session_datetime
from car_sales.simulator.cast import TEST, TRAIN
from car_sales.simulator.phrases import test as phrases_test
from car_sales.simulator.phrases import train as phrases_train
from car_sales.simulator.replies import ASK_FILTER, TALK
from simulator_kit.voice import expand
from tests.support.quick import ROOT

SCRIPT = ROOT / "scripts" / "dev" / "make_sample_data.py"
SPLITS = ("train", "test")
TOOLS = json.loads((ROOT / "data" / "tool_calls.json").read_text(encoding="utf-8"))
SCHEMAS = {tool["function"]["name"]: tool["function"]["parameters"] for tool in TOOLS}
ROWS: dict[str, list[dict[str, Any]]] = {
    split: [
        json.loads(line)
        for line in (ROOT / "data" / "car_sales" / f"{split}.jsonl").read_text(encoding="utf-8").splitlines()
    ]
    for split in SPLITS
}
Messages = list[dict[str, Any]]

each_split = pytest.mark.parametrize("split", SPLITS)


def conversations(split: str) -> list[Messages]:
    return [row["conversation"] for row in ROWS[split]]


def arguments_of(call: dict[str, Any]) -> dict[str, Any]:
    decoded: dict[str, Any] = json.loads(call["function"]["arguments"])
    return decoded


def calls_of(messages: Messages) -> list[tuple[str, dict[str, Any]]]:
    turns = (message["tool_calls"] or () for message in messages)
    return [(call["function"]["name"], arguments_of(call)) for turn in turns for call in turn]


def results_of(messages: Messages) -> list[Any]:
    return [json.loads(message["content"]) for message in messages if message["role"] == "tool"]


def share(split: str, holds: Any) -> float:
    found = [bool(holds(messages)) for messages in conversations(split)]
    return sum(found) / len(found)


def test_there_are_enough_sessions_and_the_files_are_small() -> None:
    assert len(ROWS["train"]) >= 360
    assert len(ROWS["test"]) >= 72
    assert sum(path.stat().st_size for path in (ROOT / "data" / "car_sales").glob("*.jsonl")) < 3_000_000


def test_the_script_writes_the_shipped_bytes_with_any_hash_seed(tmp_path: Path) -> None:
    command = [sys.executable, str(SCRIPT), "car_sales", "--output", str(tmp_path)]
    subprocess.run(command, env={**os.environ, "PYTHONHASHSEED": "12345"}, check=True, capture_output=True)
    for split in SPLITS:
        shipped = ROOT / "data" / "car_sales" / f"{split}.jsonl"
        assert (tmp_path / shipped.name).read_bytes() == shipped.read_bytes()


def test_the_seed_and_the_numbers_of_sessions_can_be_set(tmp_path: Path) -> None:
    specification = importlib.util.spec_from_file_location("make_sample_data", SCRIPT)
    assert specification
    assert specification.loader
    script = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(script)
    assert script.main(["car_sales", "--output", str(tmp_path), "--train", "3", "--test", "2", "--seed", "8"]) == 0
    written = (tmp_path / "train.jsonl").read_text(encoding="utf-8").splitlines()
    assert len(written) == 3
    assert len((tmp_path / "test.jsonl").read_text(encoding="utf-8").splitlines()) == 2
    assert json.loads(written[0])["conversation"] != ROWS["train"][0]["conversation"]


@each_split
def test_rows_have_the_documented_schema(split: str) -> None:
    rows = ROWS[split]
    assert len({row["session_id"] for row in rows}) == len(rows)
    for row in rows:
        assert list(row) == ["session_id", "inferred_date", "conversation"]
        assert row["inferred_date"] == "unknown" or date.fromisoformat(row["inferred_date"])
        for message in row["conversation"]:
            assert list(message) == ["role", "content", "tool_calls", "tool_call_id"]
            assert message["role"] in ("user", "assistant", "tool")
            assert (message["tool_calls"] is None) or message["role"] == "assistant"
            assert message["content"] is not None or message["tool_calls"] is not None
            assert (message["tool_call_id"] is not None) == (message["role"] == "tool")


@each_split
def test_every_call_is_answered_by_its_result_and_then_by_the_assistant(split: str) -> None:
    for messages in conversations(split):
        assert messages[0]["role"] == "user"
        assert messages[-1]["role"] == "assistant"
        seen: set[str] = set()
        for index, message in enumerate(messages):
            if message["role"] == "user":
                assert messages[index + 1]["role"] == "assistant"
            for offset, call in enumerate(message["tool_calls"] or (), start=1):
                assert call["type"] == "function"
                assert call["id"] not in seen
                seen.add(call["id"])
                assert messages[index + offset]["tool_call_id"] == call["id"]
            if message["tool_calls"]:
                after = messages[index + len(message["tool_calls"]) + 1]
                assert (after["role"], after["tool_calls"]) == ("assistant", None)
        assert seen == {message["tool_call_id"] for message in messages if message["role"] == "tool"}


@each_split
def test_all_arguments_fit_the_schema_and_keep_its_order(split: str) -> None:
    for messages in conversations(split):
        for name, arguments in calls_of(messages):
            Draft202012Validator(SCHEMAS[name]).validate(arguments)
            order = [key for key in SCHEMAS[name]["properties"] if key in arguments]
            assert list(arguments) == order


@each_split
def test_every_argument_value_was_said_or_shown_before(split: str) -> None:
    """Copying is enough: every string and number is in an earlier message, or is a date in the prompt."""
    for row in ROWS[split]:
        now = session_datetime(row["session_id"], inferred_date=row["inferred_date"], timezone="Europe/Zurich")
        context = " ".join((now.date() + timedelta(days=n)).isoformat() for n in range(1, DAYS_AHEAD + 1))
        for message in row["conversation"]:
            for call in message["tool_calls"] or ():
                for value in leaves(arguments_of(call)):
                    assert isinstance(value, bool) or str(value) in context, (row["session_id"], value)
            context += f" {message['content'] or ''}"


def leaves(value: Any) -> list[Any]:
    if isinstance(value, dict):
        return [leaf for item in value.values() for leaf in leaves(item)]
    if isinstance(value, list):
        return [leaf for item in value for leaf in leaves(item)]
    return [value]


@each_split
def test_spoken_days_mean_the_dates_that_the_prompt_spells_out(split: str) -> None:
    n_checked = 0
    for row in ROWS[split]:
        today = session_datetime(row["session_id"], inferred_date=row["inferred_date"], timezone="Europe/Zurich").date()
        messages = row["conversation"]
        for before, message in pairwise(messages):
            said = re.findall(rf"tomorrow|{'|'.join(WEEKDAYS)}", before["content"] or "")
            dates = {args["date"] for _, args in calls_of([message]) if "date" in args}
            if len(said) != 1 or len(dates) != 1 or before["role"] != "user":
                continue
            ahead = [today + timedelta(days=n) for n in range(1, DAYS_AHEAD + 1)]
            meant = ahead[0] if said == ["tomorrow"] else ahead[[WEEKDAYS[d.weekday()] for d in ahead].index(*said)]
            assert dates == {meant.isoformat()}, row["session_id"]
            n_checked += 1
    assert n_checked >= 0.1 * len(ROWS[split])


@each_split
def test_a_call_spells_out_exactly_the_dates_that_nobody_wrote_before(split: str) -> None:
    n_notes = 0
    for messages in conversations(split):
        written = ""
        for message in messages:
            dates = list(dict.fromkeys(args["date"] for _, args in calls_of([message]) if "date" in args))
            new = [day for day in dates if day not in written]
            if message["tool_calls"]:
                note = message["content"] or ""
                meant = map(date.fromisoformat, new)
                days = " and ".join(rf"(tomorrow|{WEEKDAYS[d.weekday()]}) {d:%d[.]%m[.]}" for d in meant)
                assert re.fullmatch(f"That is {days}" if new else "", note)
                n_notes += bool(new)
            written += message["content"] or ""
    assert n_notes >= 0.3 * len(ROWS[split])


@each_split
def test_sessions_are_neither_short_nor_long(split: str) -> None:
    for messages in conversations(split):
        assert 10 <= sum(message["role"] == "assistant" for message in messages) <= 14


@each_split
def test_many_assistant_turns_make_no_call(split: str) -> None:
    turns = [m for messages in conversations(split) for m in messages if m["role"] == "assistant"]
    assert sum(turn["tool_calls"] is None for turn in turns) / len(turns) >= 0.35
    # Stricter: of the turns that answer a customer, not a result, more than a third need no tool.
    pairs = [pair for messages in conversations(split) for pair in pairwise(messages)]
    answers = [answer for before, answer in pairs if before["role"] == "user"]
    assert sum(answer["tool_calls"] is None for answer in answers) / len(answers) >= 0.35


@each_split
@pytest.mark.parametrize("name", SCHEMAS)
def test_every_tool_is_common(split: str, name: str) -> None:
    assert share(split, lambda messages: name in dict(calls_of(messages))) >= 0.12


@each_split
def test_every_argument_occurs_and_optional_ones_are_also_left_out(split: str) -> None:
    used: Counter[tuple[str, str]] = Counter()
    n_calls: Counter[str] = Counter()
    for messages in conversations(split):
        for name, arguments in calls_of(messages):
            n_calls[name] += 1
            used.update((name, key) for key in arguments)
    for name, schema in SCHEMAS.items():
        for key, argument in schema["properties"].items():
            assert used[name, key] > 0, (name, key)
            if key not in schema.get("required", ()):
                assert used[name, key] < n_calls[name]
            for value in argument.get("enum", ()):
                assert any((name, value) in {(n, a.get(key)) for n, a in calls_of(m)} for m in conversations(split))


@each_split
@pytest.mark.parametrize(
    ("situation", "least"),
    [
        ("error", 0.08),
        ("parallel calls", 0.15),
        ("ask back", 0.3),
        ("out of scope", 0.2),
        ("earlier result", 0.2),
    ],
)
def test_situations_are_frequent_enough_to_be_learned(split: str, situation: str, least: float) -> None:
    said = {
        "ask back": re.escape(ASK_FILTER) + "|Please tell me (?!a make)",
        "out of scope": re.escape(TALK["offtopic"]),
        "earlier result": r"V\d+ is \w+\.$|V\d+ has \d+ (seats|km)\.$|In total it is|It is valid for",
    }

    def shows(messages: Messages) -> bool:
        if situation == "error":
            return any("error" in result for result in results_of(messages))
        if situation == "parallel calls":
            return any(len(message["tool_calls"] or ()) > 1 for message in messages)
        answers = (after["content"] or "" for before, after in pairwise(messages) if before["role"] == "user")
        return any(re.match(said[situation], text) for text in answers)

    assert share(split, shows) >= least


@each_split
def test_an_error_is_recovered_from(split: str) -> None:
    """After a failed call, a call of the same tool succeeds later in the session."""
    n_recovered = n_failed = 0
    for messages in conversations(split):
        pairs = list(zip(calls_of(messages), results_of(messages), strict=True))
        for index, ((name, _), result) in enumerate(pairs):
            if "error" in result:
                n_failed += 1
                n_recovered += any(n == name and "error" not in r for (n, _), r in pairs[index + 1 :])
    assert n_recovered == n_failed


@each_split
def test_customers_correct_themselves(split: str) -> None:
    """Within a sentence ("36, no, 48"), or with another request that changes the last call."""
    bank = phrases_train if split == "train" else phrases_test
    marks = [re.escape(text).replace(r"\{wrong\}", ".+").replace(r"\{right\}", ".+") for text in bank.CORRECTIONS]
    slip = re.compile("|".join(marks))

    def slips(messages: Messages) -> bool:
        return any(message["role"] == "user" and slip.search(message["content"]) for message in messages)

    def changes_mind(messages: Messages) -> bool:
        turns = [calls_of([message]) for message in messages if message["tool_calls"]]
        return any(a[0][0] == b[0][0] and a != b for a, b in pairwise(turns) if len(a) == len(b) == 1)

    assert share(split, slips) >= 0.03
    assert share(split, changes_mind) >= 0.15


@each_split
def test_some_dates_are_unknown(split: str) -> None:
    n_unknown = sum(row["inferred_date"] == "unknown" for row in ROWS[split])
    assert 0.03 <= n_unknown / len(ROWS[split]) <= 0.08


def sentences(bank: ModuleType) -> set[str]:
    """All sentences of a bank, with empty slots, ignoring case and punctuation."""
    phrasings = [text for texts in bank.PHRASES.values() for text in texts]
    phrasings += (*bank.CORRECTIONS, *bank.OPENERS, *bank.LINKS)
    return {re.sub(r"[^\w{}]+", " ", text.casefold()).strip() for phrasing in phrasings for text in expand(phrasing)}


def test_the_splits_share_no_person_no_make_and_no_phrasing() -> None:
    assert not {m.make for m in TRAIN.models} & {m.make for m in TEST.models}
    assert not {m.model for m in TRAIN.models} & {m.model for m in TEST.models}
    assert not set(TRAIN.first_names) & set(TEST.first_names)
    assert not set(TRAIN.last_names) & set(TEST.last_names)
    assert not sentences(phrases_train) & sentences(phrases_test)
    assert set(phrases_train.PHRASES) == set(phrases_test.PHRASES)


def test_no_word_of_the_test_cast_occurs_in_train() -> None:
    train = (ROOT / "data" / "car_sales" / "train.jsonl").read_text(encoding="utf-8")
    test = (ROOT / "data" / "car_sales" / "test.jsonl").read_text(encoding="utf-8")
    for model in TEST.models:
        assert not re.search(rf"\b{model.make}\b", train)
    for model in TRAIN.models:
        assert not re.search(rf"\b{model.make}\b", test)
    for name in (*TEST.first_names, *TEST.last_names):
        assert not re.search(rf"\b{name}\b", train)


def test_no_customer_says_the_same_in_both_splits() -> None:
    def said(split: str) -> set[str]:
        texts = (m["content"] for messages in conversations(split) for m in messages if m["role"] == "user")
        return {re.sub(r"\W+", " ", text.casefold()).strip() for text in texts}

    assert not said("train") & said("test")
