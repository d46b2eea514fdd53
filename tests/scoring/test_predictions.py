"""Predictions made, written, read back, and identified by their history."""

import dataclasses
import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from tests.support.scoring import GARBLED, HERMES, call, number_turns, tool, turn
from trainer.errors import DataError
from trainer.eval_metrics import (
    context_hash,
    make_prediction,
    read_predictions,
    read_tools,
    score,
    write_predictions,
)
from trainer.scoring.judging import Verdict
from trainer.scoring.prediction_json import from_line, to_line
from trainer.types import Message, ParsedCall, ToolEvalExample

TOOLS = [tool("f", a={"type": "integer"}), tool("g")]
HISTORY: tuple[Message, ...] = ({"role": "system", "content": "S"}, {"role": "user", "content": "Grüezi"})
TURNS = number_turns(
    [
        turn([call("f", a=1)], ["Sure.", call("f", a=1), GARBLED]),
        turn([], "Grüezi \u2028 \U0001f600\n"),
        turn([call("g")], '<tool_call>{"name": "g", "arguments": {"a": "\\ud800"}}</tool_call>'),
        turn([call("g", x={"y": [None, True, 1.5]})], "", finish="skipped_for_length"),
    ]
)


ATTEMPT = {"status": "ok", "name": "f", "arguments": {}, "raw": "f", "start": 0, "end": 1}


def edited(without: str = "", **changes: Any) -> str:
    """A line of a predictions file with other values, or without a key."""
    record = json.loads(to_line(TURNS[1])) | changes
    return json.dumps({key: value for key, value in record.items() if key != without})


def example(**changes: Any) -> ToolEvalExample:
    fields: dict[str, Any] = {
        "session_id": "s",
        "turn": 2,
        "messages": HISTORY,
        "tools": tuple(TOOLS),
        "gold_content": "",
        "gold_calls": (call("f", a=1),),
        "prompt_ids": (1, 2),
        "target_ids": (3,),
    }
    return ToolEvalExample(**(fields | changes))


def test_a_prediction_carries_gold_text_calls_and_the_tools_offered() -> None:
    made = make_prediction(
        example(), 'Hm.<tool_call>{"name": "f", "argu', fmt=HERMES, finish_reason="length", error=None
    )
    assert (made.session_id, made.turn, made.tool_names) == ("s", 2, ("f", "g"))
    assert made.gold_calls == (call("f", a=1),)
    assert (made.content, [attempt.status for attempt in made.calls]) == ("Hm.", ["truncated"])
    assert made.context_hash == context_hash(HISTORY, TOOLS)


def test_predictions_survive_the_file(tmp_path: Path) -> None:
    path = tmp_path / "predictions" / "final.jsonl"
    write_predictions(path, TURNS, TOOLS)
    assert read_predictions(path) == TURNS
    assert list(read_tools(path.with_name("tools.json"))) == TOOLS
    assert len(path.read_bytes().splitlines()) == len(TURNS)
    assert sorted(file.name for file in path.parent.iterdir()) == ["final.jsonl", "tools.json"]


def test_scores_of_the_file_are_the_scores_of_the_run(tmp_path: Path) -> None:
    scores = score(TURNS, TOOLS)
    write_predictions(tmp_path / "p.jsonl", TURNS, verdicts=scores.verdicts)
    assert score(read_predictions(tmp_path / "p.jsonl"), TOOLS) == scores
    lines = (tmp_path / "p.jsonl").read_text(encoding="utf-8").splitlines()
    verdict = {"predicted": "call", "exact": False, "reasons": ["malformed_call"]}
    assert json.loads(lines[0])["verdict"] == verdict
    assert not (tmp_path / "tools.json").exists()


def test_a_failed_write_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "p.jsonl"
    write_predictions(path, TURNS[:1])
    old = path.read_bytes()

    def fail(self: Path, target: Path) -> None:
        raise OSError("disk full")

    monkeypatch.setattr(Path, "replace", fail)
    with pytest.raises(OSError, match="disk full"):
        write_predictions(path, TURNS)
    assert path.read_bytes() == old
    assert [file.name for file in tmp_path.iterdir()] == ["p.jsonl"]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (edited(turn=None), "turn is None; expected a valid integer"),
        (edited(turn="0"), "turn is '0'; expected a valid integer"),
        (edited(turn=True), "turn is True; expected a valid integer"),
        (edited(turn=1.0), r"turn is 1\.0; expected a valid integer"),
        (edited(without="turn"), "missing 'turn'"),
        (edited(finish_reason="done"), "finish_reason is 'done'; expected 'stop', 'length', 'error'"),
        (edited(tool_names=["f", 1]), r"tool_names\.1 is 1; expected a valid string"),
        (edited(gold_calls=[3]), r"gold_calls\.0 is 3; expected an object"),
        (
            edited(gold_calls=[{"name": "f", "arguments": "{}"}]),
            r"gold_calls\.0\.arguments is '{}'; expected an object",
        ),
        (edited(calls=[ATTEMPT | {"status": "fine"}]), r"calls\.0\.status is 'fine'; expected 'ok', 'invalid_json'"),
        (edited(calls=[ATTEMPT | {"start": False}]), r"calls\.0\.start is False; expected a valid integer"),
        (edited(calls=[ATTEMPT | {"arguments": None}]), r"calls\.0 is .*; a call with status 'ok' has a name and arg"),
        (edited(calls=[ATTEMPT | {"name": None}]), r"calls\.0 is .*; a call with status 'ok' has a name and arg"),
        (edited(error=5), "error is 5; expected a valid string"),
    ],
)
def test_a_malformed_line_is_named(tmp_path: Path, line: str, message: str) -> None:
    path = tmp_path / "p.jsonl"
    path.write_text(f"{edited()}\n{line}\n", encoding="utf-8")
    with pytest.raises(DataError, match=r"p\.jsonl:2: not a prediction: " + message):
        read_predictions(path)


@pytest.mark.parametrize("line", ['{"turn": 0', "[1]", "[" * 100_000])
def test_a_line_that_is_not_an_object_is_named(tmp_path: Path, line: str) -> None:
    (tmp_path / "p.jsonl").write_text(f"{edited()}\n\n{line}\n", encoding="utf-8")
    with pytest.raises(DataError, match=r"p\.jsonl:3: not a JSON object"):
        read_predictions(tmp_path / "p.jsonl")


def test_lines_are_written_as_they_always_were(tmp_path: Path) -> None:
    """The order of keys and the spelling of values are what other tools read."""
    attempt = ParsedCall("missing_name", "{}", 3, 5)
    well_formed = ParsedCall("ok", "é", 0, 1, "g", {"x": [None, float("nan")]})
    prediction = dataclasses.replace(TURNS[0], text="Grüezi", content="", calls=(well_formed, attempt))
    verdict = Verdict("s0000", 0, "call", "call", False, ("malformed_call",))
    expected = (
        '{"session_id": "s0000", "turn": 0, "context_hash": "c", "tool_names": ["f", "g", "h"], "gold_content": "", '
        '"gold_calls": [{"name": "f", "arguments": {"a": 1}}], "text": "Grüezi", "content": "", "calls": '
        '[{"status": "ok", "name": "g", "arguments": {"x": [null, NaN]}, "raw": "é", "start": 0, "end": 1}, '
        '{"status": "missing_name", "name": null, "arguments": null, "raw": "{}", "start": 3, "end": 5}], '
        '"finish_reason": "stop", "error": null, "tool_hashes": [], "alternatives": [], "request": "r", '
        '"verdict": {"predicted": "call", "exact": false, "reasons": ["malformed_call"]}}'
    )
    assert to_line(prediction, verdict, extra={"request": "r"}) == expected
    assert str(from_line(expected, "here")) == str(prediction)


def test_half_a_surrogate_pair_survives_in_every_field(tmp_path: Path) -> None:
    half = "\ud800"
    broken = dataclasses.replace(
        TURNS[0], text=half, content=half, error=half, gold_calls=(call(half, **{half: half}),), session_id=half
    )
    write_predictions(tmp_path / "p.jsonl", [broken])
    assert read_predictions(tmp_path / "p.jsonl") == [broken]


def test_ten_thousand_turns_are_written_and_read_in_two_seconds(tmp_path: Path) -> None:
    turns = number_turns(TURNS * 2500)
    started = time.process_time()
    write_predictions(tmp_path / "p.jsonl", turns)
    assert read_predictions(tmp_path / "p.jsonl") == turns
    assert time.process_time() - started < 2


def test_a_missing_file_is_a_data_error(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="predictions cannot be read"):
        read_predictions(tmp_path / "p.jsonl")
    with pytest.raises(DataError, match="tool schemas cannot be read"):
        read_tools(tmp_path / "tools.json")
    (tmp_path / "tools.json").write_text("{}")
    with pytest.raises(DataError, match="must hold a non-empty list of tools"):
        read_tools(tmp_path / "tools.json")


def test_the_same_history_has_the_same_hash_however_it_is_written() -> None:
    def history(arguments: object, **extra: Any) -> list[Message]:
        asked: Any = {"role": "assistant", "tool_calls": [{"id": "1", "function": {"name": "f", **{}}}], **extra}
        asked["tool_calls"][0]["function"]["arguments"] = arguments
        return [*HISTORY, asked]

    plain = context_hash(history({"a": 1, "b": 2}), TOOLS)
    assert plain == context_hash(history('{"b": 2, "a": 1}', content=None, train=False, name=None), TOOLS)
    assert plain == context_hash(history({"b": 2, "a": 1}, content=""), TOOLS)
    assert plain != context_hash(history({"a": 1, "b": 3}), TOOLS)
    assert plain != context_hash(history({"a": 1, "b": 2}, content="Hm."), TOOLS)
    assert plain != context_hash(history({"a": 1, "b": 2}), TOOLS[::-1])


def test_the_hash_is_the_same_in_another_process() -> None:
    code = (
        "from trainer.eval_metrics import context_hash; "
        "print(context_hash([{'content': 'S', 'role': 'system'}, {'role': 'user', 'content': 'Gr\\u00fcezi'}], []))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, env={"PYTHONHASHSEED": "7"}
    )
    assert done.stdout.strip() == context_hash(HISTORY, [])
