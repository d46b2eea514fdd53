"""The guard reads chat files of any layout, and names every row in which a call is possible."""

import json
import random
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.support.quick import GUARDED
from trainer.config import Config
from trainer.errors import DataError
from trainer.guard.conversations import MOST_CONVERSATIONS, check_place, read_guard

MakeConfig = Callable[..., Config]
ASKED, ANSWERED = {"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello!"}
CALLING = {"role": "assistant", "tool_calls": [{"id": "1", "function": {"name": "f", "arguments": "{}"}}]}
TOOL = {"type": "function", "function": {"name": "f", "parameters": {"type": "object", "properties": {}}}}
GOOD = {"messages": [ASKED, ANSWERED]}


def write(folder: Path, rows: Sequence[Any], name: str = "guard.jsonl") -> Path:
    path = folder / name
    path.write_text("".join(f"{row if isinstance(row, str) else json.dumps(row)}\n" for row in rows), encoding="utf-8")
    return path


def numbered(n: int) -> list[dict[str, Any]]:
    return [
        {"messages": [{"role": "user", "content": f"What is {i} + 0?"}, {**ANSWERED, "content": f"{i}"}]}
        for i in range(n)
    ]


def test_the_built_in_set_is_small_and_has_no_tools(quick_config: MakeConfig, tokenizer: Any) -> None:
    found = read_guard(quick_config(GUARDED))
    assert found is not None
    assert len(found.sessions) == 24
    assert not any(session.tools for session in found.sessions)
    texts = [str(message["content"]) for session in found.sessions for message in session.messages]
    assert sum(len(tokenizer(text)["input_ids"]) for text in texts) < 1_000


def test_null_turns_it_off(quick_config: MakeConfig) -> None:
    assert read_guard(quick_config("eval.guard_dataset=null")) is None


@pytest.mark.parametrize(
    "row",
    [
        GOOD,
        {"conversations": [{"from": "human", "value": "Hi"}, {"from": "gpt", "value": "Hello!"}]},
        {"session_id": "a", "conversation": [ASKED, ANSWERED]},
    ],
    ids=["openai", "sharegpt", "project"],
)
def test_any_layout_is_read(row: dict[str, Any], quick_config: MakeConfig, tmp_path: Path) -> None:
    found = read_guard(quick_config(f"eval.guard_dataset={write(tmp_path, [row])}"))
    assert found is not None
    assert [(m["role"], m["content"]) for m in found.sessions[0].messages] == [("user", "Hi"), ("assistant", "Hello!")]


def test_the_system_prompt_and_the_tools_of_the_domain_are_not_used(quick_config: MakeConfig, tmp_path: Path) -> None:
    cfg = quick_config(f"eval.guard_dataset={write(tmp_path, [GOOD])}")
    assert cfg.data.tools_path is not None
    found = read_guard(cfg)
    assert found is not None
    assert found.sessions[0].tools == ()
    assert found.sessions[0].messages[0]["role"] == "user"


def test_the_order_of_rows_does_not_matter_and_a_large_file_costs_no_more(
    quick_config: MakeConfig, tmp_path: Path
) -> None:
    rows = [*numbered(MOST_CONVERSATIONS + 10), *numbered(2)]  # two conversations occur twice
    mixed = random.Random(0).sample(rows, len(rows))
    first, second = (
        read_guard(quick_config(f"eval.guard_dataset={write(tmp_path, some, name)}"))
        for some, name in ((rows, "a.jsonl"), (mixed, "b.jsonl"))
    )
    assert first is not None
    assert second is not None
    assert first.sessions == second.sessions
    assert (len(first.sessions), first.n_not_chosen) == (MOST_CONVERSATIONS, 12)


@pytest.mark.parametrize(
    ("bad", "expected"),
    [
        ({**GOOD, "tools": [TOOL]}, "the row has tools; the guard has conversations without any, so remove them"),
        ({"messages": [ASKED, CALLING]}, "turn 1 calls a tool; no answer of the guard may, so remove the row"),
        ({"messages": [ASKED]}, "no answer to judge; end the conversation with the answer"),
        ({"messages": [ASKED, {**ANSWERED, "train": False}]}, "no answer to judge"),
        ({"messages": [ASKED, {"role": "helper", "content": "x"}]}, "helper"),
        ("{not JSON", "not valid JSON"),
    ],
)
def test_a_bad_row_is_named_with_its_line_and_a_remedy(
    bad: Any, expected: str, quick_config: MakeConfig, tmp_path: Path
) -> None:
    path = write(tmp_path, [GOOD, bad])
    with pytest.raises(DataError) as caught:
        read_guard(quick_config(f"eval.guard_dataset={path}"))
    assert str(caught.value).startswith("eval.guard_dataset: 1 row")
    assert f"{path}:2: " in str(caught.value)
    assert expected in str(caught.value)


def test_calls_in_the_text_of_a_layout_with_tools_in_its_system_prompt_are_refused(
    quick_config: MakeConfig, tmp_path: Path
) -> None:
    call = '<tool_call>\n{"name": "f", "arguments": {}}\n</tool_call>'
    rows = [{"conversations": [{"from": "human", "value": "Hi"}, {"from": "gpt", "value": call}]}]
    with pytest.raises(DataError, match=r"guard\.jsonl:1: .*turn 1 calls a tool"):
        read_guard(quick_config(f"eval.guard_dataset={write(tmp_path, rows)}"))


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        ([{"question": "Hi"}], "no layout fits the columns question"),
        (["[1, 2]"], "none of the first rows is a JSON object"),
        ([], "has no rows"),
    ],
)
def test_a_file_that_holds_no_conversations_is_refused(
    rows: list[Any], expected: str, quick_config: MakeConfig, tmp_path: Path
) -> None:
    with pytest.raises(DataError, match=f"^eval.guard_dataset: .*{expected}") as caught:
        read_guard(quick_config(f"eval.guard_dataset={write(tmp_path, rows)}"))
    assert "data." not in str(caught.value)


@pytest.mark.parametrize("name", ["missing/guard.jsonl", "./guard", "guard.jsonl"])
def test_a_missing_file_is_named_before_anything_is_read(name: str, quick_config: MakeConfig) -> None:
    cfg = quick_config(f"eval.guard_dataset={name}")
    for read in (check_place, read_guard):
        with pytest.raises(DataError, match=r"^eval\.guard_dataset: ") as caught:
            read(cfg)
        assert "does not exist" in str(caught.value)
        assert "data." not in str(caught.value).replace("eval.guard_dataset", "")


def test_repeated_ids_are_refused(quick_config: MakeConfig, tmp_path: Path) -> None:
    rows = [{"id": "a", **row} for row in numbered(2)]
    with pytest.raises(DataError, match=r"guard\.jsonl:2: .*repeats the session id"):
        read_guard(quick_config(f"eval.guard_dataset={write(tmp_path, rows)}"))


def test_a_folder_is_read_from_its_split_test(quick_config: MakeConfig, tmp_path: Path) -> None:
    folder = tmp_path / "chats"
    folder.mkdir()
    write(folder, numbered(5), "train.jsonl")
    found = read_guard(quick_config(f"eval.guard_dataset={folder}"))
    assert found is not None
    assert len(found.sessions) == 5
    write(folder, numbered(3), "test.jsonl")
    found = read_guard(quick_config(f"eval.guard_dataset={folder}"))
    assert found is not None
    assert len(found.sessions) == 3
