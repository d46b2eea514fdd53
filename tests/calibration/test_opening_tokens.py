"""The tokens that begin a call are taken from rendered gold turns, and only if they begin nothing else."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import pytest

import car_sales
from trainer.calibration.opening_tokens import call_starts, opening_tokens
from trainer.config import Config
from trainer.tool_calls import get_format
from trainer.types import Call, ToolEvalExample

HERMES = '<tool_call>\n{"name": "f", "arguments": {"n": 1}}\n</tool_call>'
CALL = (Call("f", {"n": 1}),)

# Each word is a token; spaces and line breaks belong to the token after them.
WORDS = [
    "",
    "Sure.",
    "\n<tool_call>",
    "<tool_call>",
    '\n{"name": "f", "arguments": {"n": 1}}',
    "\n</tool_call>",
    " <b>",
]
STOP = 99


def decode(ids: Sequence[int]) -> str:
    return "".join(WORDS[token] for token in ids)


def turn(*ids: int, calls: bool = True) -> ToolEvalExample:
    return ToolEvalExample("s", 0, (), (), "", CALL if calls else (), (1,), (*ids, STOP))


def test_a_token_that_merges_a_line_break_with_the_opening_is_found_beside_the_plain_one() -> None:
    examples = [turn(3, 4, 5), turn(1, 2, 4, 5), turn(1, calls=False)]
    assert [call_starts(item, decode=decode, fmt=get_format("hermes")) for item in examples] == [[0], [1], []]
    assert opening_tokens(examples, decode=decode, fmt=get_format("hermes")) == (2, 3)


def test_every_call_of_a_turn_begins_somewhere() -> None:
    both = turn(3, 4, 5, 2, 4, 5)
    assert call_starts(both, decode=decode, fmt=get_format("hermes")) == [0, 3]


def test_a_token_that_prose_also_has_is_left_out_and_then_nothing_is_found() -> None:
    """A bias on it would change prose, and one on the other opening only would prefer the turns that have it."""
    mentions = [turn(1, 3, 6, calls=False)] * 2
    examples = [turn(3, 4, 5)] * 3 + [turn(1, 2, 4, 5)] * 3
    assert opening_tokens([*examples, *mentions], decode=decode, fmt=get_format("hermes")) == ()
    assert opening_tokens(mentions, decode=decode, fmt=get_format("hermes")) == ()


@pytest.mark.parametrize(
    ("name", "text", "begin"),
    [
        ("hermes", f"Let me look.\n{HERMES}", "<tool_call>"),
        ("lfm2", "<|tool_call_start|>[f(n=1)]<|tool_call_end|>", "<|tool_call_start|>"),
        ("llama3_json", '{"name": "f", "parameters": {"n": 1}}', "{"),
        ("mistral", '[TOOL_CALLS][{"name": "f", "arguments": {"n": 1}}]', "[TOOL_CALLS]"),
    ],
)
def test_a_call_begins_at_its_marker(name: str, text: str, begin: str) -> None:
    fmt = get_format(name)
    (start,) = fmt.call_starts(text)
    assert text[start:].startswith(begin)


@pytest.mark.parametrize("name", ["kimi_k2", "deepseek_v3", "deepseek_v31"])
def test_a_call_begins_at_the_marker_around_all_calls(name: str) -> None:
    fmt = get_format(name)
    written = fmt.render(CALL)
    assert written.startswith(fmt.wrappers[0])
    assert fmt.call_starts(f"Let me look.\n{written}")[0] == len("Let me look.\n")
    assert fmt.call_starts("No call here.") == []


def test_the_calls_of_the_example_data_begin_with_one_token_of_the_real_tokenizer(
    quick_config: Callable[..., Config], tokenizer: Any
) -> None:
    bundle = car_sales.build_datasets(quick_config())
    assert bundle.chat is not None
    examples = bundle.tool_eval_examples
    (token,) = opening_tokens(examples, decode=bundle.chat.encoder.decode, fmt=bundle.chat.fmt)
    assert tokenizer.decode([token]) == "<"
    for item in examples:
        assert (token in item.target_ids) == bool(item.gold_calls)
    quoting = replace(examples[0], target_ids=(token,) * 20, gold_calls=())
    assert opening_tokens([*examples, quoting], decode=bundle.chat.encoder.decode, fmt=bundle.chat.fmt) == ()
