"""The shipped sample data of every simulated domain: it shows what it should, and nothing is in both splits."""

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

import make_sample_data
import pytest
from jsonschema import Draft202012Validator

from simulator_kit.dialogue import dates_in
from simulator_kit.voice import expand
from tests.support.quick import ROOT
from tests.support.samples import (
    DOMAINS,
    SAMPLES,
    Messages,
    Sample,
    arguments_of,
    calls_of,
    results_of,
    rows_of,
    said_by_customers,
    walked,
)
from trainer.util.clock import DAYS_AHEAD, WEEKDAYS, session_datetime

SCRIPT = ROOT / "scripts" / "dev" / "make_sample_data.py"

each_domain = pytest.mark.parametrize("domain", DOMAINS)
each_sample = pytest.mark.parametrize("sample", SAMPLES, ids=str)


def today_of(sample: Sample, row: dict[str, Any]) -> date:
    timezone = sample.simulation.timezone
    return session_datetime(row["session_id"], inferred_date=row["inferred_date"], timezone=timezone).date()


# The files


@each_sample
def test_there_are_enough_sessions_and_the_files_are_small(sample: Sample) -> None:
    assert len(sample.rows) == sample.simulation.n_sessions[sample.split]
    assert len(sample.rows) >= {"train": 200, "test": 72}[sample.split]
    folder = ROOT / "data" / sample.domain
    assert sum(path.stat().st_size for path in folder.glob("*.jsonl")) < 3_000_000


@each_domain
def test_the_script_writes_the_shipped_bytes_with_any_hash_seed(domain: str, tmp_path: Path) -> None:
    command = [sys.executable, str(SCRIPT), domain, "--output", str(tmp_path)]
    path = os.pathsep.join(filter(None, [str(ROOT / "src"), os.environ.get("PYTHONPATH")]))
    environment = {**os.environ, "PYTHONHASHSEED": "12345", "PYTHONPATH": path}
    subprocess.run(command, env=environment, check=True, capture_output=True)
    for split in ("train", "test"):
        shipped = ROOT / "data" / domain / f"{split}.jsonl"
        assert (tmp_path / shipped.name).read_bytes() == shipped.read_bytes()


@each_domain
def test_the_seed_and_the_numbers_of_sessions_can_be_set(domain: str, tmp_path: Path) -> None:
    words = [domain, "--output", str(tmp_path), "--train", "2", "--test", "1"]
    assert make_sample_data.main([*words, "--seed", "8"]) == 0
    other = (tmp_path / "train.jsonl").read_bytes()
    assert len(other.splitlines()) == 2
    assert make_sample_data.main(words) == 0
    shipped = (ROOT / "data" / domain / "train.jsonl").read_bytes()
    assert shipped.startswith((tmp_path / "train.jsonl").read_bytes())
    assert not shipped.startswith(other.splitlines()[0])
    assert len((tmp_path / "test.jsonl").read_bytes().splitlines()) == 1


@each_sample
def test_rows_have_the_documented_schema(sample: Sample) -> None:
    rows = sample.rows
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


@each_sample
def test_some_dates_are_unknown(sample: Sample) -> None:
    n_unknown = sum(row["inferred_date"] == "unknown" for row in sample.rows)
    assert 0.03 <= n_unknown / len(sample.rows) <= 0.08


# Turns


@each_sample
def test_every_call_is_answered_by_its_result_and_then_by_the_assistant(sample: Sample) -> None:
    for messages in sample.conversations:
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


@each_sample
def test_sessions_are_neither_short_nor_long(sample: Sample) -> None:
    for messages in sample.conversations:
        assert 10 <= sum(message["role"] == "assistant" for message in messages) <= 14


@each_sample
def test_many_assistant_turns_make_no_call(sample: Sample) -> None:
    turns = [m for messages in sample.conversations for m in messages if m["role"] == "assistant"]
    assert sum(turn["tool_calls"] is None for turn in turns) / len(turns) >= 0.35
    # Stricter: of the turns that answer a customer, not a result, more than a third need no tool.
    pairs = [pair for messages in sample.conversations for pair in pairwise(messages)]
    answers = [answer for before, answer in pairs if before["role"] == "user"]
    assert sum(answer["tool_calls"] is None for answer in answers) / len(answers) >= 0.35


@each_sample
def test_an_error_is_recovered_from(sample: Sample) -> None:
    """After a failed call, a call of the same tool succeeds later in the session."""
    n_failed = 0
    for messages in sample.conversations:
        pairs = list(zip(calls_of(messages), results_of(messages), strict=True))
        for index, ((name, _), result) in enumerate(pairs):
            if "error" in result:
                n_failed += 1
                assert any(n == name and "error" not in r for (n, _), r in pairs[index + 1 :])
    assert n_failed >= 0.08 * len(sample.rows)


@each_sample
def test_customers_correct_themselves(sample: Sample) -> None:
    """Within a sentence ("36, no, 48"), or with another request that changes the last call."""
    corrections = sample.bank.CORRECTIONS
    marks = [re.escape(text).replace(r"\{wrong\}", ".+").replace(r"\{right\}", ".+") for text in corrections]
    slip = re.compile("|".join(marks))

    def slips(messages: Messages) -> bool:
        return any(message["role"] == "user" and slip.search(message["content"]) for message in messages)

    def changes_mind(messages: Messages) -> bool:
        turns = [calls_of([message]) for message in messages if message["tool_calls"]]
        return any(a[0][0] == b[0][0] and a != b for a, b in pairwise(turns) if len(a) == len(b) == 1)

    assert sample.share(slips) >= 0.03
    assert sample.share(changes_mind) >= 0.15


@each_sample
@pytest.mark.parametrize(
    ("situation", "least"), [("error", 0.08), ("parallel calls", 0.15), ("ask back", 0.3), ("out of scope", 0.2)]
)
def test_situations_are_frequent_enough_to_be_learned(sample: Sample, situation: str, least: float) -> None:
    def shows(messages: Messages) -> bool:
        if situation == "error":
            return any("error" in result for result in results_of(messages))
        if situation == "parallel calls":
            return any(len(message["tool_calls"] or ()) > 1 for message in messages)
        said = {"ask back": "Please tell me ", "out of scope": sample.part("replies").TALK["offtopic"]}[situation]
        answers = (after["content"] or "" for before, after in pairwise(messages) if before["role"] == "user")
        return any(text.startswith(said) for text in answers)

    assert sample.share(shows) >= least


# Arguments


@each_sample
def test_all_arguments_fit_the_schema_and_keep_its_order(sample: Sample) -> None:
    validators = {name: Draft202012Validator(schema) for name, schema in sample.schemas.items()}
    for messages in sample.conversations:
        for name, arguments in calls_of(messages):
            validators[name].validate(arguments)
            for value, schema in walked(arguments, sample.schemas[name]):
                if isinstance(value, dict):
                    assert list(value) == [key for key in schema["properties"] if key in value]


@each_sample
def test_every_argument_value_was_said_or_shown_before(sample: Sample) -> None:
    """Copying is enough: every string and number is in an earlier message, a date in the prompt, or a choice."""
    for row in sample.rows:
        today = today_of(sample, row)
        context = " ".join((today + timedelta(days=n)).isoformat() for n in range(DAYS_AHEAD + 1))
        for message in row["conversation"]:
            for call in message["tool_calls"] or ():
                for value, schema in walked(arguments_of(call), sample.schemas[call["function"]["name"]]):
                    if isinstance(value, bool | dict | list) or "enum" in schema:
                        continue
                    assert str(value) in context, (row["session_id"], value)
            context += f" {message['content'] or ''}"


@each_sample
def test_spoken_days_mean_the_dates_that_the_prompt_spells_out(sample: Sample) -> None:
    n_checked = 0
    for row in sample.rows:
        today = today_of(sample, row)
        ahead = [today + timedelta(days=n) for n in range(1, DAYS_AHEAD + 1)]
        meant = {WEEKDAYS[day.weekday()]: day for day in ahead} | {"today": today, "tomorrow": ahead[0]}
        for before, message in pairwise(row["conversation"]):
            said = re.findall(rf"\b(?:{'|'.join(meant)})\b", before["content"] or "")
            dates = {day for _, arguments in calls_of([message]) for day in dates_in(arguments)}
            if len(said) != 1 or len(dates) != 1 or before["role"] != "user":
                continue
            assert dates == {meant[said[0]].isoformat()}, row["session_id"]
            n_checked += 1
    assert n_checked >= 0.1 * len(sample.rows)


@each_sample
def test_a_call_spells_out_exactly_the_dates_that_nobody_wrote_before(sample: Sample) -> None:
    n_notes = 0
    for messages in sample.conversations:
        written = ""
        for message in messages:
            if message["tool_calls"]:
                dates = dict.fromkeys(day for _, arguments in calls_of([message]) for day in dates_in(arguments))
                new = [date.fromisoformat(day) for day in dates if day not in written]
                days = " and ".join(rf"(today|tomorrow|{WEEKDAYS[d.weekday()]}) {d:%d[.]%m[.]}" for d in new)
                assert re.fullmatch(f"That is {days}" if new else "", message["content"] or "")
                n_notes += bool(new)
            written += message["content"] or ""
    assert n_notes >= 0.3 * len(sample.rows)


@each_sample
def test_every_tool_is_common(sample: Sample) -> None:
    for name in sample.schemas:
        assert sample.share(lambda messages, name=name: name in dict(calls_of(messages))) >= 0.12, name


@each_sample
def test_every_argument_and_choice_occurs_and_optional_ones_are_also_left_out(sample: Sample) -> None:
    used: Counter[str] = Counter()
    n_objects: Counter[str] = Counter()
    for messages in sample.conversations:
        for name, arguments in calls_of(messages):
            for value, schema in walked(arguments, sample.schemas[name]):
                if isinstance(value, dict):
                    n_objects[f"{name} {id(schema)}"] += 1
                    used.update(f"{name} {id(schema)} {key}" for key in value)
                elif "enum" in schema:
                    used[f"{name} {id(schema)} {value}"] += 1
    for name, schema in sample.schemas.items():
        for inner in parts_of(schema):
            place = f"{name} {id(inner)}"
            for choice in inner.get("enum", ()):
                assert used[f"{place} {choice}"], (name, choice)
            for key in inner.get("properties", ()):
                assert used[f"{place} {key}"], (name, key)
                if key not in inner.get("required", ()):
                    assert used[f"{place} {key}"] < n_objects[place], (name, key)


def parts_of(schema: dict[str, Any]) -> list[dict[str, Any]]:
    """A schema and all schemas in it."""
    inner = [*schema.get("properties", {}).values(), *([schema["items"]] if "items" in schema else [])]
    return [schema, *(part for each in inner for part in parts_of(each))]


# Splits


def sentences(bank: ModuleType) -> set[str]:
    """All sentences of a bank, with empty slots, ignoring case and punctuation."""
    phrasings = [text for texts in bank.PHRASES.values() for text in texts]
    phrasings += (*bank.CORRECTIONS, *bank.OPENERS, *bank.LINKS)
    found = {re.sub(r"[^\w{}]+", " ", text.casefold()).strip() for phrasing in phrasings for text in expand(phrasing)}
    return {text for text in found if re.sub(r"{\w+}", "", text).strip()}


@each_domain
def test_the_splits_share_no_phrasing(domain: str) -> None:
    train, test = (Sample(domain, split).bank for split in ("train", "test"))
    assert not sentences(train) & sentences(test)
    assert set(train.PHRASES) == set(test.PHRASES)


@each_domain
def test_no_customer_says_the_same_in_both_splits(domain: str) -> None:
    assert not said_by_customers(Sample(domain, "train")) & said_by_customers(Sample(domain, "test"))


@each_domain
def test_sessions_differ(domain: str) -> None:
    talks = [str(row["conversation"]) for split in ("train", "test") for row in rows_of(domain, split)]
    assert len(set(talks)) == len(talks)
