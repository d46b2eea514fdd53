"""An exchange: calls are run and answered, broken ones are not, and a conversation can be taken back and saved."""

import json
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from trainer.config import load_config
from trainer.data.domains import LivePrompt, find_session
from trainer.endpoint import Generation
from trainer.errors import DataError, OutputError
from trainer.live_chat.answers import OnProse, Reply
from trainer.live_chat.exchange import MOST_ROUNDS, Exchanger, LiveConversation
from trainer.live_chat.executing import SKIPPED, ToolRunner, result_text, typed_result
from trainer.live_chat.rows import read_back, save_row
from trainer.tool_calls import get_format
from trainer.types import Call, ParsedCall

NOW = datetime(2026, 3, 9, 10, 30, 5, tzinfo=UTC)
BOOK: dict[str, Any] = {
    "type": "function",
    "function": {
        "name": "book",
        "description": "Books a table.",
        "parameters": {"type": "object", "properties": {"seats": {"type": "integer"}}, "required": ["seats"]},
    },
}
GOOD = '<tool_call>\n{"name": "book", "arguments": {"seats": 2}}\n</tool_call>'
WRONG = '<tool_call>\n{"name": "book", "arguments": {"seats": "two"}}\n</tool_call>'
UNKNOWN = '<tool_call>\n{"name": "cook", "arguments": {}}\n</tool_call>'
UNCLOSED = '<tool_call>\n{"name": "book", "arguments": {"seats": 2'


class Scripted:
    """Answers with one text after the other. `bodies` are the requests."""

    name, max_context_tokens = "scripted", 100

    def __init__(self, *texts: str) -> None:
        self._texts, self.bodies = list(texts), list[Any]()

    def answer(self, body: Any, *, on_prose: OnProse) -> Reply:
        self.bodies.append(body)
        text = self._texts.pop(0)
        content, calls = get_format("hermes").parse(text, tools=body.get("tools", ()))
        on_prose(content)
        return Reply(text, content, calls, "length" if text.endswith("…") else "stop", 90, 10)


class Notebook:
    """Writes down what happens."""

    def __init__(self) -> None:
        self.seen: list[str] = []

    def begin_answer(self) -> None: ...
    def prose(self, piece: str) -> None: ...
    def end_answer(self, reply: Reply) -> None: ...

    def call(self, call: Call, problems: Sequence[str]) -> None:
        self.seen.append(f"call {call.name} {call.arguments} {list(problems)}")

    def broken(self, attempt: ParsedCall, reason: str) -> None:
        self.seen.append(f"broken: {reason}")

    def result(self, text: str) -> None:
        self.seen.append(f"result {text}")

    def note(self, text: str) -> None:
        self.seen.append(f"note {text}")

    def ask_result(self, call: Call) -> str:
        return "typed"


class Bookings:
    """A simulator with a state: how many tables are booked."""

    def __init__(self) -> None:
        self.n = 0

    def run(self, name: str, arguments: Any) -> Any:
        self.n += 1
        return {"booking": self.n}


def conversation() -> LiveConversation:
    return LiveConversation(NOW, LivePrompt([{"role": "system", "content": "Be brief."}], [BOOK]))


def exchanger(*texts: str, tools: ToolRunner | None = None) -> tuple[Exchanger, Notebook, Scripted]:
    runner = tools or ToolRunner(lambda now: Bookings().run)
    runner.begin(NOW)
    notebook, model = Notebook(), Scripted(*texts)
    return Exchanger(model, Generation("m", 20), runner, notebook), notebook, model


def test_a_call_is_run_and_its_result_sent_back_until_the_answer_is_prose() -> None:
    talk, notebook, model = exchanger(GOOD, GOOD + GOOD, "Booked.")
    chat = conversation()
    talk.say(chat, "A table please")
    assert notebook.seen[:2] == ["call book {'seats': 2} []", 'result {"booking":1}']
    assert [message["role"] for message in chat.messages] == [
        "user",
        *["assistant", "tool"],
        "assistant",
        "tool",
        "tool",
        "assistant",
    ]
    last = model.bodies[-1]["messages"]
    assert last[0] == {"role": "system", "content": "Be brief."}
    assert last[2]["tool_calls"][0]["function"] == {"name": "book", "arguments": '{"seats": 2}'}
    assert [message["tool_call_id"] for message in last if message["role"] == "tool"] == [
        call["id"] for message in last for call in message.get("tool_calls", ())
    ]
    assert [message["content"] for message in last if message["role"] == "tool"] == [
        f'{{"booking":{n}}}' for n in (1, 2, 3)
    ]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (UNKNOWN, "there is no tool cook; known: book"),
        (UNCLOSED, "it has no end"),
        (GOOD + UNKNOWN, "there is no tool"),
    ],
)
def test_a_broken_call_is_marked_and_no_call_of_its_answer_is_run(text: str, reason: str) -> None:
    talk, notebook, _ = exchanger(text)
    chat = conversation()
    talk.say(chat, "A table please")
    assert notebook.seen[0].startswith(f"broken: {reason}")
    assert not [seen for seen in notebook.seen if seen.startswith(("call", "result"))]
    assert chat.messages[-1] == {"role": "assistant", "content": text, "train": False}


def test_a_call_that_breaks_its_schema_is_shown_and_run_but_never_trained_on() -> None:
    talk, notebook, _ = exchanger(WRONG, "Done.")
    chat = conversation()
    talk.say(chat, "A table please")
    assert notebook.seen[0] == "call book {'seats': 'two'} [\"$.seats: 'two' is not of type 'integer'\"]"
    assert chat.messages[1]["train"] is False
    assert "train" not in chat.messages[3]


def test_a_model_that_only_calls_is_stopped() -> None:
    talk, notebook, model = exchanger(*[GOOD] * 20)
    talk.say(conversation(), "A table please")
    assert len(model.bodies) == MOST_ROUNDS
    assert notebook.seen[-1] == "note stopped after 8 rounds of calls without an answer in prose; write on, or /undo"


def test_a_cut_answer_names_the_limit_that_cut_it() -> None:
    talk, notebook, _ = exchanger("And so on …")
    talk.say(conversation(), "Tell me")
    assert notebook.seen == [
        "note cut: the conversation has reached 100 tokens, the limit of the training; /undo or /reset"
    ]


def test_what_is_taken_back_is_also_taken_back_in_the_tools() -> None:
    talk, notebook, _ = exchanger(GOOD, "One.", GOOD, "Two.", GOOD, "Two again.")
    chat = conversation()
    for text in ("one", "two"):
        talk.say(chat, text)
    assert chat.undo() == {"role": "user", "content": "two"}
    talk.tools.begin(chat.now, chat.messages)
    talk.say(chat, "two")
    assert [seen for seen in notebook.seen if "result" in seen] == [f'result {{"booking":{n}}}' for n in (1, 2, 2)]
    assert [chat.undo() is None for _ in range(3)] == [False, False, True]


def test_a_domain_that_fails_is_a_result_and_typed_results_are_compact() -> None:
    def fail(name: str, arguments: Any) -> Any:
        raise KeyError("stock")

    tools = ToolRunner(lambda now: fail)
    tools.begin(NOW)
    assert tools.run(Call("book", {})) == '{"error":"KeyError: \'stock\'"}'
    assert [typed_result(text) for text in ('{ "a": 1 }', "sold out", "  ")] == ['{"a":1}', "sold out", SKIPPED]
    with pytest.raises(TypeError):
        result_text(NOW)


def test_a_saved_row_is_read_and_trained_on_as_it_was_said(tmp_path: Path) -> None:
    talk, _, _ = exchanger(GOOD, "Booked.\u2028Bye.", UNKNOWN, WRONG, "Done.")
    chat, path = conversation(), tmp_path / "rows.jsonl"
    talk.say(chat, "A table please")
    assert save_row(path, chat) == ("chat-20260309-103005", 2, 1)
    for text in ("and cook", "two more"):
        talk.say(chat, text)
    assert save_row(path, chat) == ("chat-20260309-103005", 3, 1)
    other = LiveConversation(NOW.replace(hour=11), chat.prompt, chat.messages[:2] + chat.messages[3:4])
    other.messages[1:2] = []
    assert save_row(path, other).n_rows == 2

    changes = [
        "load_module=chat_rows",
        "layout=project",
        f"dataset_name={path}",
        "sysprompt_path=null",
        "tools_path=null",
    ]
    cfg = load_config(Path("configs/car_sales/quickstart.yaml"), [f"data.{change}" for change in changes])
    session = find_session(cfg, cfg.data.eval_split, session_id="chat-20260309-103005")  # the one that is held out
    assert session.messages == read_back(path.read_text(encoding="utf-8").split("\n")[0]).messages
    assert [message.get("content") for message in session.messages[:5]] == [
        "Be brief.", "A table please", "", '{"booking":1}', "Booked.\u2028Bye.",
    ]  # fmt: skip
    assert [message.get("train") for message in session.messages if message["role"] == "assistant"] == [
        None, None, False, False, None,
    ]  # fmt: skip
    assert str(session.day) == "2026-03-09"
    assert [tool["function"]["name"] for tool in session.tools] == ["book"]


def test_what_training_could_not_use_is_not_saved_and_other_files_stay(tmp_path: Path) -> None:
    chat, path = conversation(), tmp_path / "rows.jsonl"
    with pytest.raises(DataError, match="nothing to save"):
        save_row(path, chat)
    exchanger(UNKNOWN)[0].say(chat, "cook")
    with pytest.raises(DataError, match="nothing to save"):
        save_row(path, chat)
    exchanger("Hello.")[0].say(chat, "hello")
    notes = tmp_path / "notes.jsonl"
    for content in ("no JSON", json.dumps({"messages": []})):
        notes.write_text(content, encoding="utf-8")
        with pytest.raises(OutputError, match=r"holds something else .* name another file"):
            save_row(notes, chat)
        assert notes.read_text(encoding="utf-8") == content
    with pytest.raises(OutputError, match=r"ends in \.jsonl"):
        save_row(tmp_path / "rows.yaml", chat)
    assert [file.name for file in tmp_path.iterdir()] == ["notes.jsonl"]
