"""The public function that turns one session into tokens and labels, with the real tokenizer and real templates."""

from typing import Any

import pytest
from template_samples import SAMPLES, TOOLS
from transformers.tokenization_utils_base import PreTrainedTokenizerBase

from car_sales.data_prep import tokenize_with_role_spans
from tests.support.chat import own_template, stock_template, tokenizer_for
from tests.support.vllm_rules import content_format, server_messages
from trainer.endpoint import wire_messages
from trainer.errors import TemplateError
from trainer.types import IGNORE_INDEX, Message
from trainer.util.ordering import shuffled

SESSIONS = {session.session_id: session for session in SAMPLES}
TWO_ROUNDS = SESSIONS["two rounds"].messages
CHATML_ENDS = dict.fromkeys(("chatml_tools", "qwen2_5", "qwen3_instruct_2507", "lfm2_2_5"), "<|im_end|>")
ENDS = {**CHATML_ENDS, "gemma4_v2": "<turn|>"}


def supervised_runs(row: dict[str, list[int]]) -> list[list[int]]:
    """Return the spans of tokens that carry loss."""
    runs: list[list[int]] = []
    before = IGNORE_INDEX
    for label in row["labels"]:
        if label != IGNORE_INDEX:
            if before == IGNORE_INDEX:
                runs.append([])
            runs[-1].append(label)
        before = label
    return runs


def tokenizer_with(name: str) -> Any:
    return tokenizer_for(own_template() if name == "chatml_tools" else stock_template(name))


def texts_of(tokenizer: Any, row: dict[str, list[int]]) -> list[str]:
    return [tokenizer.decode(run) for run in supervised_runs(row)]


def test_columns_are_of_one_length_and_labels_repeat_the_tokens(tokenizer: PreTrainedTokenizerBase) -> None:
    row = tokenize_with_role_spans(TWO_ROUNDS, "s-1", tokenizer, TOOLS)
    assert set(row) == {"input_ids", "labels", "attention_mask"}
    assert len(row["input_ids"]) == len(row["labels"]) == len(row["attention_mask"])
    assert set(row["attention_mask"]) == {1}
    pairs = zip(row["labels"], row["input_ids"], strict=True)
    assert all(label in (IGNORE_INDEX, token) for label, token in pairs)


@pytest.mark.parametrize("name", ENDS)
def test_each_assistant_turn_is_supervised_up_to_its_stop_token(name: str) -> None:
    tokenizer = tokenizer_with(name)
    texts = texts_of(tokenizer, tokenize_with_role_spans(TWO_ROUNDS, "s-1", tokenizer, TOOLS))
    assert len(texts) == 4
    assert all(text.endswith(ENDS[name]) for text in texts)
    assert "find_car" in texts[0]
    assert "Škoda" in texts[0]
    assert texts[1] == "One is here." + ENDS[name]
    assert "Monday" in texts[2]
    assert texts[3] == "Done. 🚗" + ENDS[name]


@pytest.mark.parametrize("name", ENDS)
def test_the_tokens_before_a_span_are_the_serving_prompt(name: str) -> None:
    tokenizer = tokenizer_with(name)
    row = tokenize_with_role_spans(TWO_ROUNDS, "s-1", tokenizer, TOOLS)
    tools = list(shuffled(TOOLS, key="tools\0s-1"))
    starts = [
        place
        for place, label in enumerate(row["labels"])
        if label != IGNORE_INDEX and row["labels"][place - 1] == IGNORE_INDEX
    ]
    turns = [turn for turn, message in enumerate(TWO_ROUNDS) if message["role"] == "assistant"]
    for turn, start in zip(turns, starts, strict=True):
        prompt = tokenizer.apply_chat_template(
            server_messages(wire_messages(TWO_ROUNDS[:turn]), content_format(tokenizer.chat_template)),
            tools=tools,
            add_generation_prompt=True,
            return_dict=False,
        )
        assert row["input_ids"][:start] == prompt


def test_system_user_and_tool_messages_carry_no_loss(tokenizer: PreTrainedTokenizerBase) -> None:
    supervised = "".join(texts_of(tokenizer, tokenize_with_role_spans(TWO_ROUNDS, "s-1", tokenizer, TOOLS)))
    for text in ("dealership", "A Škoda?", "Book it", "cars", "<tool_response>", "<tools>", "assistant\n"):
        assert text not in supervised


def test_a_turn_with_train_false_carries_no_loss(tokenizer: PreTrainedTokenizerBase) -> None:
    messages: list[Message] = [
        {"role": "user", "content": "Hi"},
        {"role": "assistant", "content": "Bad.", "train": False},
        {"role": "user", "content": "What?"},
        {"role": "assistant", "content": "Good."},
    ]
    row = tokenize_with_role_spans(messages, "s-1", tokenizer, ())
    assert texts_of(tokenizer, row) == ["Good.<|im_end|>"]
    assert "Bad." in tokenizer.decode(row["input_ids"])


def test_arguments_are_never_encoded_twice(tokenizer: PreTrainedTokenizerBase) -> None:
    rows = []
    for arguments in ('{"brand": "Audi", "max_price": null}', {"brand": "Audi", "max_price": None}):
        call: Any = {"id": "c1", "type": "function", "function": {"name": "find_car", "arguments": arguments}}
        messages: list[Message] = [
            {"role": "user", "content": "An Audi?"},
            {"role": "assistant", "content": None, "tool_calls": [call]},
        ]
        rows.append(tokenize_with_role_spans(messages, "s-1", tokenizer, TOOLS))
    assert rows[0] == rows[1]
    (text,) = texts_of(tokenizer, rows[0])
    assert '"arguments": {"brand": "Audi", "max_price": null}' in text


def test_the_order_of_tools_depends_on_the_session_alone(tokenizer: PreTrainedTokenizerBase) -> None:
    rows = {name: tokenize_with_role_spans(TWO_ROUNDS, name, tokenizer, TOOLS) for name in ("a", "b", "c", "d")}
    assert rows["a"] == tokenize_with_role_spans(TWO_ROUNDS, "a", tokenizer, TOOLS)
    assert len({tuple(row["input_ids"]) for row in rows.values()}) == 2


@pytest.mark.parametrize(
    ("name", "reason"),
    [("qwen3", "rows"), ("lfm2", "does not render tool calls"), ("llama3", "does not render tool schemas")],
)
def test_a_template_that_cannot_make_one_exact_row_is_refused(name: str, reason: str) -> None:
    with pytest.raises(TemplateError, match=reason):
        tokenize_with_role_spans(TWO_ROUNDS, "s-1", tokenizer_with(name), TOOLS)
