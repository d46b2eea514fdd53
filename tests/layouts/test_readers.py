"""What single layouts convert beyond the sample sessions: reasoning, odd names, instructions, columns."""

from collections import Counter
from typing import Any

import pytest

from tests.layouts.samples.sharegpt_rows import turn
from trainer.layouts import get_layout
from trainer.messages import Conversation
from trainer.messages.message import split_reasoning

WEATHER = '{"name": "Town weather/v2", "description": "W", "parameters": {"type": "dict", "properties": {}}}'


def answer(read: Conversation) -> Any:
    return next(message for message in read.messages if message["role"] == "assistant")


def openai(message: dict[str, Any]) -> Conversation:
    return get_layout("openai").read({"messages": [{"role": "user", "content": "Hi"}, message]})


@pytest.mark.parametrize("key", ["reasoning", "thinking", "reasoning_content"])
def test_reasoning_is_read_under_each_of_its_names(key: str) -> None:
    read = openai({"role": "assistant", "content": "Ok.", key: "I see."})
    assert answer(read) == {"role": "assistant", "content": "Ok.", "reasoning_content": "I see."}
    assert read.converted == (() if key == "reasoning_content" else (f"{key} read as reasoning_content",))


@pytest.mark.parametrize(
    ("text", "split"),
    [
        ("<think>\nI see.\n</think>\n\nOk.", ("I see.", "Ok.")),
        ("\n<think>I see.</think>", ("I see.", "")),
        ("<think>\n\n</think>\n\nOk.", ("", "Ok.")),
        ("Ok. <think>I see.</think>", None),
        ("<think>I see. Ok.", None),
    ],
)
def test_a_think_block_at_the_start_is_reasoning_and_elsewhere_text(text: str, split: Any) -> None:
    assert split_reasoning(text) == split
    message = answer(openai({"role": "assistant", "content": text}))
    assert (message.get("reasoning_content") or "", message["content"]) == (split or ("", text))


def test_a_refusal_is_the_text_of_the_answer() -> None:
    read = openai({"role": "assistant", "content": "", "refusal": "I cannot do that."})
    assert answer(read)["content"] == "I cannot do that."
    assert "refusal read as content" in read.converted


def test_a_turn_is_context_by_train_false_or_weight_0() -> None:
    for key, value in (("train", False), ("weight", 0)):
        assert answer(openai({"role": "assistant", "content": "Ok.", key: value}))["train"] is False


def test_a_turn_of_calls_is_context_by_the_same_keys_and_joins_no_trained_turn() -> None:
    turns = [turn("human", "Hi"), turn("gpt", "Ok."), {**turn("function_call", '{"name": "f"}'), "weight": 0}]
    read = get_layout("sharegpt").read({"conversations": turns})
    assert [message.get("train") for message in read.messages] == [None, None, False]


def test_what_is_converted_is_counted_one_by_one() -> None:
    calls = [{"from": "gpt", "value": '<tool_call>{"name": "f", "arguments": {}}</tool_call>'}] * 2
    results = {"from": "tool", "value": "x"}
    read = get_layout("hermes").read({"conversations": [calls[0], results, calls[1]]})
    assert Counter(read.converted)["call written as text"] == 2
    assert read.tools == ()


def test_names_that_python_could_not_write_are_read_and_strings_keep_them() -> None:
    row = {
        "system": f"Functions: [{WEATHER}]",
        "conversations": [
            turn("user", "Hi"),
            turn("assistant", '[Town weather/v2(note="as in Town weather/v2(1)"), Town weather/v2()]'),
        ],
    }
    read = get_layout("toolace").read(row)
    functions = [call["function"] for call in answer(read)["tool_calls"]]
    assert functions == [
        {"name": "Town weather/v2", "arguments": {"note": "as in Town weather/v2(1)"}},
        {"name": "Town weather/v2", "arguments": {}},
    ]


@pytest.mark.parametrize("text", ["[1] see below", "Use [f(a=1)] for it", "[link](https://x)"])
def test_prose_with_brackets_is_prose(text: str) -> None:
    row = {"system": f"Functions: [{WEATHER}]", "conversations": [turn("user", "Hi"), turn("assistant", text)]}
    assert answer(get_layout("toolace").read(row)) == {"role": "assistant", "content": text}


@pytest.mark.parametrize(
    ("system", "rest"),
    [
        ("SYSTEM: You are a helpful assistant with access to the following functions. Use them if required -\n", 1),
        ("SYSTEM: You are a helpful assistant, with no access to external functions.", 0),
    ],
)
def test_the_sentences_that_introduce_tools_go_with_them(system: str, rest: int) -> None:
    chat = "USER: Hi\nASSISTANT: Hello."
    read = get_layout("glaive").read({"system": system + WEATHER * rest, "chat": chat})
    assert len(read.tools or ()) == rest
    expected = "You are a helpful assistant." if rest else system.removeprefix("SYSTEM: ")
    assert read.messages[0]["content"] == expected


def test_the_same_system_prompt_in_a_column_and_in_the_turns_is_read_once() -> None:
    row = {"system": "S", "conversations": [turn("system", "S"), turn("human", "Hi"), turn("gpt", "Hello.")]}
    assert [message["role"] for message in get_layout("sharegpt").read(row).messages] == ["system", "user", "assistant"]


def test_thinking_blocks_and_text_after_results_keep_their_order() -> None:
    row = {
        "messages": [
            {"role": "user", "content": "Hi"},
            {
                "role": "assistant",
                "content": [
                    {"type": "thinking", "thinking": "I see.", "signature": "s"},
                    {"type": "text", "text": "Ok."},
                    {"type": "tool_use", "id": "t", "name": "f", "input": None},
                ],
            },
            {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "t", "content": ""},
                                         {"type": "text", "text": "And?"}]},
            {"role": "assistant", "content": "Done."},
        ]
    }  # fmt: skip
    read = get_layout("anthropic").read(row)
    assert [message["role"] for message in read.messages] == ["user", "assistant", "tool", "user", "assistant"]
    assert answer(read)["reasoning_content"] == "I see."
    assert read.tools is None


def test_both_columns_of_tools_may_be_there_if_one_is_empty() -> None:
    row = {"messages": [{"role": "user", "content": "Hi"}], "tools": [], "functions": [{"name": "f"}]}
    assert [tool["function"]["name"] for tool in get_layout("openai").read(row).tools or ()] == ["f"]
