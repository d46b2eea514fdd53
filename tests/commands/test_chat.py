"""`tool-sft chat`: in a real terminal, in a pipe, and with arguments that do not fit."""

import io
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from chat import main

from tests.support.live_chat import Terminal, use_script
from tests.support.quick import QUICKSTART, ROOT
from tests.support.stub_server import StubServer, wire_call
from tests.support.tiny_runs import make_run

CALL = '<tool_call>\n{"name": "search_inventory", "arguments": {"body": "hatchback", "max_price": 14000}}\n</tool_call>'
BROKEN = '<tool_call>\n{"name": "search_inventory", "arguments": {"body": }}\n</tool_call>'


@pytest.fixture
def run(tiny_model_folder: Path, tmp_path: Path) -> Path:
    places = [f"data.{key}={ROOT / 'data' / name}" for key, name in (
        ("sysprompt_path", "sysprompt.md"), ("tools_path", "tool_calls.json"),
    )]  # fmt: skip
    return make_run(tiny_model_folder, tmp_path / "carsales", *places).path


@pytest.mark.slow
def test_a_call_is_made_run_and_answered_in_a_terminal(run: Path, tmp_path: Path) -> None:
    answers = tmp_path / "answers.json"
    answers.write_text(json.dumps([CALL, "I found a \x1b[31mFiat Panda.", "slowly " * 40, BROKEN]), encoding="utf-8")
    with Terminal(["-m", "tests.support.live_chat", str(run), str(answers)], folder=tmp_path) as terminal:
        assert "carsales: 8 tools, which a simulator runs" in terminal.expect("you> ")
        terminal.send("Do you have a hatchback?\n")
        shown = terminal.expect("you> ")
        assert "→ search_inventory" in shown
        assert 'body       "hatchback"' in shown
        assert '← {"cars": [{"car": "Fiat Panda", "id": "V15"}]}' in shown
        assert "model> I found a ‹U+001B›[31mFiat Panda." in shown
        terminal.send("And now slowly\n")
        terminal.expect("model> slowly")
        terminal.send("\x03")
        terminal.expect("(stopped; your message and what followed it are forgotten)")
        terminal.expect("you> ")
        terminal.send("/save rows.jsonl\n")
        terminal.expect("with 2 answers to learn")
        terminal.send("Another one\n")
        terminal.expect("✗ a call that cannot be run: its arguments are not JSON")
        terminal.send("/undu\n")
        terminal.expect("did you mean /undo?")
        terminal.expect("you> ")
        terminal.send("\x04")
        assert terminal.wait() == 0
    (row,) = map(json.loads, (tmp_path / "rows.jsonl").read_text(encoding="utf-8").splitlines())
    assert [message["role"] for message in row["conversation"]] == ["system", "user", "assistant", "tool", "assistant"]


def _patch(monkeypatch: pytest.MonkeyPatch) -> Callable[[str, Any], None]:
    return lambda name, value: monkeypatch.setattr(name, value, raising=False)


def talk(monkeypatch: pytest.MonkeyPatch, lines: str, *words: str) -> int:
    monkeypatch.setattr(sys, "stdin", io.StringIO(lines))
    return main(words)


def test_in_a_pipe_each_turn_is_one_line(
    run: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    use_script(_patch(monkeypatch), [CALL, "I found\na car.", BROKEN])
    assert talk(monkeypatch, "A hatchback?\n\nAnd again\n/quit\nnever sent\n", "--run", str(run)) == 0
    assert capsys.readouterr().out.splitlines() == [
        'call: search_inventory {"body": "hatchback", "max_price": 14000}',
        'result: {"cars":[{"car":"Fiat Panda","id":"V15"}]}',
        "model: I found\\na car.",
        f"broken call: its arguments are not JSON: {BROKEN}".replace("\n", "\\n"),
        "(no call of this answer is run; write on, or /undo)",
    ]


def test_without_a_simulator_results_are_typed(
    run: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    use_script(
        _patch(monkeypatch),
        [CALL, "None.", CALL, "Hm.", CALL],
        tools=False,
    )
    lines = 'One\n{ "cars": [] }\nTwo\n\nThree\n/tools search_inventory\n'
    assert talk(monkeypatch, lines, "--run", str(run)) == 0
    shown = capsys.readouterr().out
    assert 'result: {"cars":[]}\nmodel: None.' in shown
    assert 'result: {"error":"not available"}\nmodel: Hm.' in shown
    assert '(your message is taken back, because its call got no result)\n{\n  "name": "search_inventory"' in shown


def test_a_server_answers_and_calls_in_its_text_are_found(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def answer(body: dict[str, Any]) -> dict[str, Any]:
        n = len([message for message in body["messages"] if message["role"] == "tool"])
        handed_over = {"tool_calls": [wire_call("search_inventory", '{"body": "SUV"}')]}
        answers: list[dict[str, Any]] = [handed_over, {"content": CALL}, {"content": "Nothing."}]
        return answers[n]

    monkeypatch.setattr("car_sales.make_tool_executor", None)
    with StubServer(answer) as server:
        words = ["--config", str(QUICKSTART), "--endpoint", server.url, "--model", "base"]
        assert talk(monkeypatch, "Hello\nfirst\nsecond\n", *words) == 0
        assert talk(monkeypatch, "Hello\n", *words[:-1], "nobody") == 2
    shown = capsys.readouterr()
    assert shown.out.splitlines() == [
        'call: search_inventory {"body": "SUV"}',
        "result: first",
        'call: search_inventory {"body": "hatchback", "max_price": 14000}',
        "result: second",
        "model: Nothing.",
    ]
    assert "nobody is not registered" in shown.err
    last = server.bodies[-1]
    assert last["temperature"] == 0
    assert [message["role"] for message in last["messages"]] == ["system", "user", *["assistant", "tool"] * 2]
    assert len(last["tools"]) == 8


def test_a_conversation_that_is_too_long_says_what_to_do(
    run: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    use_script(_patch(monkeypatch), ["Never."])
    assert talk(monkeypatch, "word " * 5000 + "\n", "--run", str(run)) == 1
    assert "tokens and is too long: the model was trained with at most 4,096 tokens; /undo" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (["--config", "x.yaml"], "--config needs --endpoint"),
        (["--config", "x.yaml", "--endpoint", "http://h/v1"], "--config needs --model"),
        (["--run", "r", "--set", "data.timezone=UTC"], "--set needs --config"),
        (["--run", "r", "--model", "m"], "need --endpoint"),
        (["--run", "r", "--endpoint", "http://h/v1", "--adapter-off"], "--adapter-off is for a run in process"),
        ([], "one of the arguments --run --config is required"),
    ],
)
def test_arguments_that_do_not_fit_are_refused(
    words: list[str], reason: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit, match="2"):
        main(words)
    assert reason in capsys.readouterr().err


def test_a_folder_without_a_run_is_one_message(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--run", str(tmp_path)]) == 2
    assert "not a finished run" in capsys.readouterr().err
