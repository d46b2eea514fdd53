"""A layout is told by the rows, explained in sentences, and refused when two would fit."""

from typing import Any

import pytest

from tests.layouts.samples import SAMPLES
from trainer.errors import DataError
from trainer.layouts import detect_layout, get_layout

HELLO = [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello."}]
CALLING = {"role": "assistant", "content": None, "tool_calls": [{"function": {"name": "f", "arguments": "{}"}}]}
USING = {"role": "assistant", "content": [{"type": "tool_use", "name": "f", "input": {}}]}


def turns(*pairs: tuple[str, str]) -> list[dict[str, str]]:
    return [{"from": word, "value": text} for word, text in pairs]


@pytest.mark.parametrize("name", SAMPLES)
@pytest.mark.parametrize("index", range(5))
def test_a_single_row_is_read_right_by_whatever_layout_it_is_taken_for(name: str, index: int) -> None:
    sample = SAMPLES[name]
    messages = detect_layout([sample.rows[index]]).layout.read(sample.rows[index]).messages
    assert [{**message, "name": None} for message in messages] == [
        {**message, "name": None} for message in sample.sessions[index]
    ]


@pytest.mark.parametrize(
    ("row", "name"),
    [
        ({"messages": HELLO}, "openai"),
        ({"conversation": HELLO, "session_id": "a"}, "project"),
        ({"conversations": HELLO}, "openai"),
        ({"conversations": turns(("human", "Hi"), ("gpt", "Hello."))}, "sharegpt"),
        ({"messages": [*HELLO, {"role": "user", "content": "x"}, USING]}, "anthropic"),
        ({"messages": [*HELLO, {"role": "assistant", "content": '<tool_call>{"name": "f"}</tool_call>'}]}, "hermes"),
    ],
)
def test_a_plain_row_has_a_layout(row: dict[str, Any], name: str) -> None:
    assert detect_layout([row]).layout.name == name


@pytest.mark.parametrize(
    ("rows", "candidates"),
    [
        ([{"messages": HELLO, "conversations": turns(("human", "Hi"), ("gpt", "x"))}], ["openai", "sharegpt"]),
        ([{"messages": [CALLING]}, {"messages": [USING]}], ["anthropic", "openai"]),
        (
            [{"messages": [CALLING]}, {"messages": [{"role": "assistant", "content": "<tool_call>"}]}],
            ["openai", "hermes"],
        ),
        ([{"query": "q", "answers": "[]", "messages": HELLO}], ["xlam", "openai"]),
        ([{"conversations": turns(("gpt", "<tool_call>"), ("function_call", "{}"))}], ["hermes", "sharegpt"]),
    ],
)
def test_rows_that_fit_two_layouts_are_refused_with_how_to_choose(rows: list[Any], candidates: list[str]) -> None:
    with pytest.raises(DataError) as caught:
        detect_layout(rows)
    assert all(f"`data.layout: {name}`" in str(caught.value) for name in candidates)


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        ([], "no rows"),
        ([{"text": "Hi", "label": 1}], "no layout fits the columns label, text"),
        ([{"messages": None}], "none has a value"),
        ([{"messages": [1, "x"]}], "no layout fits the columns messages"),
    ],
)
def test_rows_that_fit_no_layout_are_refused(rows: list[Any], words: str) -> None:
    with pytest.raises(DataError, match=words):
        detect_layout(rows)


def test_the_explanation_names_columns_roles_and_what_is_left() -> None:
    row = {"uuid": "a", "conversations": turns(("human", "Hi"), ("gpt", "x"), ("narrator", "y")), "source": "s", "n": 1}
    found = detect_layout([row, row])
    assert found.layout.columns["session_id"] == "uuid"
    assert found.explanation == (
        "The rows have the layout sharegpt (looked at: 2).",
        "Column conversations holds the conversation (2 of 2 rows have it).",
        "Column uuid holds the session id (2 of 2 rows have it).",
        "No column holds tools; the rows have none.",
        'Role "human" means user (2 turns).',
        'Role "gpt" means assistant (2 turns).',
        'Role "narrator" is not known (2 turns); its rows will be refused.',
        "Not used: 2 columns (n, source).",
    )


def test_two_hundred_rows_are_looked_at() -> None:
    rows = [{"messages": HELLO}] * 200 + [{"query": "q", "answers": "[]"}]
    assert detect_layout(rows).explanation[0].endswith("(looked at: 200).")


def test_columns_are_named_by_part() -> None:
    layout = get_layout("openai", messages="chat", tools=None)
    assert layout.read({"chat": HELLO, "tools": [{"name": "f"}]}).tools is None
    with pytest.raises(DataError, match="did you mean sharegpt"):
        get_layout("sharegtp")
    with pytest.raises(DataError, match="did you mean tools"):
        get_layout("openai", tool="x")
    with pytest.raises(DataError, match="needs a column for messages"):
        get_layout("openai", messages=None)
