"""Exchanged answers keep the form of the conversations."""

import json
from pathlib import Path
from typing import Any

from diagnoses import exchange_answers

from tests.support.quick import ROOT


def answers(file: Path) -> list[dict[str, Any]]:
    rows = [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]
    return [turn for row in rows for turn in row["conversation"] if turn["role"] == "assistant"]


def test_answers_change_places_and_calls_stay_calls(tmp_path: Path) -> None:
    source = ROOT / "data" / "car_sales"
    exchange_answers(source, tmp_path, split="train")
    before, after = (answers(folder / "train.jsonl") for folder in (source, tmp_path))
    assert [bool(turn["tool_calls"]) for turn in before] == [bool(turn["tool_calls"]) for turn in after]
    calls = [[call for turn in turns for call in turn["tool_calls"] or []] for turns in (before, after)]
    assert [call["id"] for call in calls[0]] == [call["id"] for call in calls[1]]
    for parts in (
        [[json.dumps(call["function"]) for call in side] for side in calls],
        [[turn["content"] or "" for turn in side if not turn["tool_calls"]] for side in (before, after)],
    ):
        assert parts[0] != parts[1]
        assert sorted(parts[0]) == sorted(parts[1])
    assert (tmp_path / "test.jsonl").read_text(encoding="utf-8") == (source / "test.jsonl").read_text(encoding="utf-8")
