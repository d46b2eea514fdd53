"""Predictions made, written, read back, and identified by their history."""

import json
import subprocess
import sys
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
from trainer.types import Message, ToolEvalExample

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
    ("change", "message"),
    [
        (lambda line: line[:40], r"p\.jsonl:2: not a JSON object: Invalid control"),
        (lambda line: "[1]", r"p\.jsonl:2: not a JSON object"),
        (lambda line: line.replace('"turn": 0', '"turn": "0"'), r"p\.jsonl:2: .* turn is '0'; expected int"),
        (lambda line: line.replace('"turn": 0, ', ""), r"p\.jsonl:2: not a prediction: missing 'turn'"),
        (lambda line: line.replace('"stop"', '"done"'), r"finish_reason is 'done'; allowed: stop, length, error"),
        (lambda line: line.replace('"gold_calls": []', '"gold_calls": [3]'), r"p\.jsonl:2: not a prediction"),
    ],
)
def test_a_malformed_line_is_named(tmp_path: Path, change: Any, message: str) -> None:
    path = tmp_path / "p.jsonl"
    write_predictions(path, TURNS)
    lines = path.read_text(encoding="utf-8").split("\n")
    lines[1] = change(lines[1])
    path.write_text("\n".join(lines), encoding="utf-8")
    with pytest.raises(DataError, match=message):
        read_predictions(path)


def test_a_missing_file_is_a_data_error(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="cannot read predictions"):
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
