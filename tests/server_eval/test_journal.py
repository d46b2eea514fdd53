"""A journal is locked while it is open, and reads only lines that it wrote itself."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.support.scoring import call, turn
from trainer.endpoint import Answer
from trainer.errors import OutputError
from trainer.server_eval.journal import Journal, TurnKey
from trainer.util.secrets import remember

HOLD = """
import os, sys
from pathlib import Path
from trainer.server_eval.journal import Journal

with Journal(Path(sys.argv[1]), {}):
    print("open", flush=True)
    sys.stdin.readline()
"""
READING = turn([call("f", a=1)], [call("f", a=1)])
ANSWER = Answer("Hi", [{"id": "1"}], "stop", None, 10, 2, 0.5)


def test_a_folder_is_locked_until_its_evaluation_ends_or_dies(tmp_path: Path) -> None:
    command = [sys.executable, "-c", HOLD, str(tmp_path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "open\n"
        refused = pytest.raises(OutputError, match=f"another evaluation is writing into {tmp_path}")
        with refused, Journal(tmp_path, {}):
            pass
        other.kill()
        other.wait()
    assert (tmp_path / ".lock").exists()
    for _ in range(2):
        with Journal(tmp_path, {}):
            pass


def test_a_refused_journal_leaves_the_folder_unlocked(tmp_path: Path) -> None:
    (tmp_path / "predictions.jsonl").write_text("mine\n", encoding="utf-8")
    for journal in [Journal(tmp_path, {}), Journal(tmp_path, {})]:
        with pytest.raises(OutputError, match="was not written by an evaluation"):
            journal.__enter__()


def test_an_answer_is_read_back_with_all_that_the_server_counted(tmp_path: Path) -> None:
    with Journal(tmp_path, {"model": "m"}) as journal:
        journal.add(READING, Answer("", [{"x": [None, 1.5]}], "length", None, 10, None, 0.123456))
    record = json.loads((tmp_path / "predictions.jsonl").read_text(encoding="utf-8"))
    assert list(record)[-2:] == ["request", "served"]
    assert list(record["served"]) == ["tool_calls", "prompt_tokens", "completion_tokens", "latency_s"]
    with Journal(tmp_path, {"model": "m"}) as journal:
        kept = Answer(READING.content, [{"x": [None, 1.5]}], "stop", None, 10, None, 0.1235)
        assert journal.answers == {TurnKey("s", 0, "c"): kept}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"request": "other"}, r"\(an answer to another request\)"),
        ({"turn": True}, r"\(turn is True; expected a valid integer\)"),
        ({"served": None}, r"\(served is None; expected an object\)"),
        ({"served": {"prompt_tokens": "1"}}, r"\(missing 'served.tool_calls'\)"),
    ],
)
def test_a_line_that_the_journal_did_not_write_is_an_error_with_its_number(
    tmp_path: Path, change: dict[str, Any], message: str
) -> None:
    with Journal(tmp_path, {}) as journal:
        journal.add(READING, ANSWER)
    path = tmp_path / "predictions.jsonl"
    line = path.read_text(encoding="utf-8")
    path.write_text(line + json.dumps(json.loads(line) | change) + "\n", encoding="utf-8")
    with pytest.raises(OutputError, match=r"predictions\.jsonl:2: not a line of this evaluation " + message):
        Journal(tmp_path, {}).__enter__()


@pytest.mark.parametrize("text", ["[1]", "{", "\udcff", "[" * 100_000])
def test_a_request_file_that_holds_no_request_is_refused(tmp_path: Path, text: str) -> None:
    with Journal(tmp_path, {}) as journal:
        journal.add(READING, ANSWER)
    (tmp_path / "request.json").write_bytes(text.encode(errors="surrogateescape"))
    with pytest.raises(OutputError, match=r"no valid request\.json beside it"), Journal(tmp_path, {}):
        pass


def test_a_line_has_no_secrets_before_the_evaluation_ends_and_a_new_secret_in_the_request_changes_nothing(
    tmp_path: Path,
) -> None:
    remember("planted-token", "planted-other")
    with Journal(tmp_path, {"extra_body": {"key": "planted-token"}}) as journal:
        journal.add(READING, Answer("", [{"x": "planted-token"}], "stop"))
        assert "planted" not in (tmp_path / "predictions.jsonl").read_text(encoding="utf-8")
    assert "planted" not in (tmp_path / "request.json").read_text(encoding="utf-8")
    with Journal(tmp_path, {"extra_body": {"key": "planted-other"}}) as journal:
        assert len(journal.answers) == 1
