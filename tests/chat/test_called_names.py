"""The tokens of tool names are found in every format, with a real tokenizer."""

from functools import partial
from itertools import pairwise
from typing import Any

import pytest

from trainer.chat.tokens.called_names import CalledNames
from trainer.tokenizer import decode_text
from trainer.tool_calls import formats, get_format
from trainer.types import Call

CALLS = [Call("get_weather", {"city": "get_weather", "n": 2}), Call("book_slot", {"a": [1], "note": "🙂 ž"})]


@pytest.mark.parametrize("name", formats())
def test_the_tokens_of_both_names_are_found(name: str, tokenizer: Any) -> None:
    fmt = get_format(name)
    answer = tokenizer(fmt.write(CALLS) + "<|im_end|>", add_special_tokens=False)["input_ids"]
    places = CalledNames(partial(decode_text, tokenizer), fmt).places(answer)
    assert places == tuple(sorted(set(places)))
    gaps = [after for before, after in pairwise(places) if after > before + 1]
    assert len(gaps) == 1
    text = [tokenizer.decode([answer[place]]) for place in places]
    joined = "".join(text).replace(" ", "")
    assert "get_weather" in joined
    assert "book_slot" in joined
    assert len(joined) <= len("get_weatherbook_slot") + 8  # a token may hold a quote or a bracket too


@pytest.mark.parametrize(
    "text", ["get_weather is a tool.<|im_end|>", "", '{"name": "get_weather"', "<tool_call>{}</tool_call>"]
)
def test_prose_and_broken_calls_have_no_name(text: str, tokenizer: Any) -> None:
    answer = tokenizer(text, add_special_tokens=False)["input_ids"]
    assert CalledNames(partial(decode_text, tokenizer), get_format("hermes")).places(answer) == ()
