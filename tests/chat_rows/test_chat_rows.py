"""Rows of public layouts train without code, on the same tokens as conversations written by hand."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import chat_rows
from tests.layouts.samples import SAMPLES
from trainer.config import Config
from trainer.data import DatasetBundle
from trainer.data.domains import find_session
from trainer.errors import DataError
from trainer.eval_metrics import read_predictions, read_tools, score
from trainer.training.train import train_run

MakeConfig = Callable[..., Config]


@pytest.fixture
def rows_config(quick_config: MakeConfig, tmp_path: Path) -> MakeConfig:
    """The configuration of a file of rows; no prompt, no tool file, no layout."""

    def make(rows: list[Any], *overrides: str, name: str = "rows.jsonl") -> Config:
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        lines = [row if isinstance(row, str) else json.dumps(row, ensure_ascii=False) for row in rows]
        path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
        cfg = quick_config(
            "data.load_module=chat_rows", f"data.dataset_name={path}", "data.train_split=train",
            "data.eval_split=test", "data.n_tool_sessions_eval=5", "data.holdout=0.3", *overrides,
        )  # fmt: skip
        data = cfg.data.model_copy(update={"sysprompt_path": None, "tools_path": None})
        return cfg.model_copy(update={"data": data})

    return make


def rows_of(bundle: DatasetBundle) -> dict[str, tuple[list[int], list[int]]]:
    """The tokens and labels of every session, trained or held out."""
    both = [*bundle.train_dataset, *bundle.eval_dataset]
    return {row["session_id"]: (row["input_ids"], row["labels"]) for row in both}


@pytest.mark.parametrize("name", SAMPLES)
def test_every_layout_gives_the_tokens_of_the_same_conversations_written_by_hand(
    name: str, rows_config: MakeConfig
) -> None:
    sample = SAMPLES[name]
    read = chat_rows.build_datasets(rows_config(sample.rows))
    part = chat_rows.open_rows(rows_config(sample.rows)).train[0]
    by_hand = []
    ids = {json.dumps(row, ensure_ascii=False): part.reader.read(row).session.session_id for row in sample.rows}
    for row, messages in zip(sample.rows, sample.sessions, strict=True):
        session_id = ids[json.dumps(row, ensure_ascii=False)]
        by_hand.append({"session_id": session_id, "conversation": list(messages), "tools": list(sample.tools)})
    written = chat_rows.build_datasets(rows_config(by_hand, name="by-hand.jsonl"))
    assert len(rows_of(read)) == len(sample.rows)
    assert rows_of(read) == rows_of(written)


def test_a_file_trains_and_is_judged_without_code(rows_config: MakeConfig) -> None:
    cfg = rows_config(SAMPLES["openai"].rows)
    result = train_run(cfg)
    state = result.states["final"]
    folder = result.output_dir / "predictions"
    predictions = read_predictions(folder / "final.jsonl")
    again = score(predictions, read_tools(folder / "tools.json", unique_names=False))
    assert state["n_turns"] == len(predictions) > 0
    assert {key: state[key] for key in again.metrics} == again.metrics
    turns = chat_rows.read_turns(cfg)
    assert [(turn.session_id, turn.turn) for turn in turns] == [(p.session_id, p.turn) for p in predictions]


def with_tool(number: int) -> dict[str, Any]:
    """A row with three tools, one of which has the same name in every row and another type for its argument."""
    kind = ["string", "integer"][number % 2]
    schema = {"type": "object", "properties": {"value": {"type": kind}}, "required": ["value"]}
    names = (f"only_{number}", "shared", f"other_{number}")
    value = str(number) if kind == "string" else number
    call = {"id": "c", "type": "function", "function": {"name": "shared", "arguments": json.dumps({"value": value})}}
    return {
        "messages": [
            {"role": "user", "content": f"Case {number}"},
            {"role": "assistant", "content": "", "tool_calls": [call]},
            {"role": "tool", "tool_call_id": "c", "content": "done"},
            {"role": "assistant", "content": "It is done."},
        ],
        "tools": [{"type": "function", "function": {"name": name, "parameters": schema}} for name in names],
    }


def test_tools_of_the_row_reach_prompt_judge_and_disk(rows_config: MakeConfig) -> None:
    cfg = rows_config([with_tool(number) for number in range(12)])
    bundle = chat_rows.build_datasets(cfg)
    for example in bundle.tool_eval_examples:
        assert len(example.tools) == 3
        assert bundle.chat is not None
        prompt = bundle.chat.encoder.decode(list(example.prompt_ids))
        assert all(tool["function"]["name"] in prompt for tool in example.tools)
    gold = train_run(cfg)
    folder = gold.output_dir / "predictions"
    tools = read_tools(folder / "tools.json", unique_names=False)
    shared = [tool for tool in tools if tool["function"]["name"] == "shared"]
    assert len(shared) == 2
    assert len(tools) == len({json.dumps(tool) for tool in tools})


def tool_orders(cfg: Config, rows: list[Any]) -> set[tuple[str, ...]]:
    reader = chat_rows.open_rows(cfg).train[0].reader
    return {tuple(tool["function"]["name"] for tool in reader.read(row).session.tools) for row in rows}


def test_tools_that_all_rows_bring_stay_in_their_order_and_others_are_shuffled(rows_config: MakeConfig) -> None:
    tools = [{"type": "function", "function": {"name": name, "parameters": {"type": "object"}}} for name in "dcbae"]
    messages = [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello"}]
    rows = [{"id": f"s{number}", "messages": messages, "tools": tools} for number in range(12)]
    assert tool_orders(rows_config(rows), rows) == {tuple("dcbae")}
    # Here the first tool may be the one to call, and its place must not say so.
    others = [{**row, "tools": tools[number % 2 :]} for number, row in enumerate(rows)]
    assert len(tool_orders(rows_config(others), others)) > 4
    # A row that cannot be read is reported elsewhere and decides nothing.
    broken = [*rows, {"id": "broken", "messages": "no list", "tools": tools}]
    assert tool_orders(rows_config(broken), rows) == {tuple("dcbae")}


def test_a_row_that_cannot_be_used_is_named_by_its_line(rows_config: MakeConfig) -> None:
    rows = [with_tool(number) for number in range(4)]
    rows[2]["messages"][1]["tool_calls"][0]["function"]["name"] = "nowhere"
    lines: list[Any] = [*rows[:2], "", rows[2], "{not json", rows[3]]
    with pytest.raises(DataError) as caught:
        chat_rows.build_datasets(rows_config(lines))
    text = str(caught.value)
    assert "rows.jsonl:4: session row-" in text
    assert 'turn 1 calls unknown tool "nowhere"; known: only_2, other_2, shared' in text
    assert "rows.jsonl:5: session row-" in text
    assert "not valid JSON" in text


def test_sessions_are_held_out_by_their_ids(rows_config: MakeConfig, caplog: pytest.LogCaptureFixture) -> None:
    rows = [with_tool(number) for number in range(12)]
    caplog.set_level("INFO")
    first = chat_rows.build_datasets(rows_config(rows))
    assert "No split test:" in caplog.text
    assert "Column messages holds the conversation" in caplog.text
    trained, judged = (set(rows["session_id"]) for rows in (first.train_dataset, first.eval_dataset))
    assert trained
    assert judged
    assert not trained & judged
    again = chat_rows.build_datasets(rows_config(list(reversed(rows)), name="reversed.jsonl"))
    assert set(again.eval_dataset["session_id"]) == judged


def test_equal_rows_without_ids_are_told_apart(rows_config: MakeConfig) -> None:
    rows = [with_tool(number) for number in (1, 2, 3, 4, 5, 6, 1)]
    bundle = chat_rows.build_datasets(rows_config(rows, "data.holdout=0.01"))
    assert len(rows_of(bundle)) == 7


@pytest.mark.parametrize(
    ("parts", "expected"),
    [
        ("null", "You are kind."),
        ("[row]", "You are kind."),
        ("[file]", "From the file."),
        ("[file, row]", "From the file.\n\nYou are kind."),
        ("[row, file]", "You are kind.\n\nFrom the file."),
    ],
)
def test_the_system_prompt_comes_from_the_row_or_the_file(
    parts: str, expected: str, rows_config: MakeConfig, tmp_path: Path
) -> None:
    (tmp_path / "prompt.md").write_text("From the file.", encoding="utf-8")
    rows = [with_tool(number) for number in range(3)]
    for row in rows[:1]:
        row["messages"].insert(0, {"role": "system", "content": "You are kind."})
    cfg = rows_config(rows, f"data.system_prompt={parts}")
    cfg = cfg.model_copy(update={"data": cfg.data.model_copy(update={"sysprompt_path": tmp_path / "prompt.md"})})
    reader = chat_rows.open_rows(cfg).train[0].reader
    assert reader.read(rows[0]).session.messages[0] == {"role": "system", "content": expected}
    if "file" in parts:
        assert reader.read(rows[1]).session.messages[0]["content"] == "From the file."


def test_a_template_may_ask_for_the_session_s_date(rows_config: MakeConfig, tmp_path: Path) -> None:
    (tmp_path / "prompt.md").write_text("Now: {{current_datetime}}", encoding="utf-8")
    rows = [{**with_tool(number), "date": "2025-03-14"} for number in range(3)]
    cfg = rows_config(rows, "data.timezone=Europe/Zurich")
    cfg = cfg.model_copy(update={"data": cfg.data.model_copy(update={"sysprompt_path": tmp_path / "prompt.md"})})
    system = chat_rows.open_rows(cfg).train[0].reader.read(rows[0]).session.messages[0]["content"]
    assert str(system).startswith("Now: Current DateTime (Europe/Zurich): Friday 2025-03-14 ")


def test_the_layout_and_its_columns_may_be_given(rows_config: MakeConfig) -> None:
    rows = [{"talk": row["messages"], "functions_here": row["tools"]} for row in map(with_tool, range(3))]
    with pytest.raises(DataError, match="no layout fits the columns"):
        chat_rows.build_datasets(rows_config(rows))
    given = "data.layout={name: openai, messages: talk, tools: functions_here}"
    assert len(rows_of(chat_rows.build_datasets(rows_config(rows, given)))) == 3
    with pytest.raises(DataError, match=r"data\.layout: has no name"):
        chat_rows.build_datasets(rows_config(rows, "data.layout={messages: talk}"))


def test_arguments_are_trained_as_the_file_says(rows_config: MakeConfig) -> None:
    """Arrow would give every call the arguments of all the others, as nulls."""
    rows = [with_tool(number) for number in range(4)]
    for row in rows:
        for message in row["messages"]:
            for call in message.get("tool_calls", ()):
                call["function"]["arguments"] = json.loads(call["function"]["arguments"])
    rows[0]["messages"][1]["tool_calls"][0]["function"]["arguments"] = {"value": "0", "extra": None}
    reader = chat_rows.open_rows(rows_config(rows)).train[0].reader
    read = [reader.read(row).session.messages[1].get("tool_calls") for row in rows]
    assert [calls and calls[0]["function"]["arguments"] for calls in read[1:]] == [
        {"value": 1}, {"value": "2"}, {"value": 3}
    ]  # fmt: skip


def test_a_session_of_a_file_can_be_previewed(rows_config: MakeConfig) -> None:
    cfg = rows_config([with_tool(number) for number in range(4)])
    part = chat_rows.open_rows(cfg).train[0]
    first = part.reader.read(part.rows[0]).session
    assert find_session(cfg, "train") == first
    assert find_session(cfg, "train", session_id=first.session_id) == first
    with pytest.raises(DataError, match="only the split train, not 'validation'"):
        find_session(cfg, "validation")


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("object.json", b'{"a": 1}', r"object\.json cannot be read: it must hold a list of rows"),
        ("broken.json", b"[1, 2", r"broken\.json cannot be read: Expecting"),
        ("latin.jsonl", b"\xff\xfe{}\n", r"latin\.jsonl cannot be read: 'utf-8' codec"),
        ("empty.jsonl", b"", r"empty\.jsonl has no rows"),
        ("none.json", b"[]", r"none\.json has no rows"),
        ("items.json", b'[1, "a"]', r"items\.json: none of the first rows is a JSON object"),
        ("lines.jsonl", b"{a\n{b\n", r"lines\.jsonl: none of the first rows is a JSON object"),
    ],
)
def test_a_file_without_usable_rows_is_one_message(
    name: str, content: bytes, message: str, rows_config: MakeConfig, tmp_path: Path
) -> None:
    (tmp_path / name).write_bytes(content)
    cfg = rows_config([with_tool(1)])
    cfg = cfg.model_copy(update={"data": cfg.data.model_copy(update={"dataset_name": str(tmp_path / name)})})
    with pytest.raises(DataError, match=message):
        chat_rows.build_datasets(cfg)


def test_a_folder_with_both_splits_holds_nothing_out(rows_config: MakeConfig, tmp_path: Path) -> None:
    rows_config([with_tool(number) for number in range(3)], name="both/train.jsonl")
    cfg = rows_config([with_tool(number) for number in range(3, 5)], name="both/test.jsonl")
    cfg = cfg.model_copy(update={"data": cfg.data.model_copy(update={"dataset_name": str(tmp_path / "both")})})
    bundle = chat_rows.build_datasets(cfg)
    assert (len(bundle.train_dataset), len(bundle.eval_dataset)) == (3, 2)
    (tmp_path / "both" / "test.jsonl").rename(tmp_path / "both" / "latest.jsonl")
    assert len(rows_of(chat_rows.build_datasets(cfg))) == 3
