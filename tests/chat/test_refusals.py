"""Rows that a template cannot show as a server would are refused, also if single words of them come out."""

from datetime import date
from typing import Any

import pytest

from tests.support.chat import own_template, stock_template, tokenizer_for
from trainer.chat import ChatEncoder
from trainer.chat.verify import verify_row
from trainer.errors import TemplateError

FIND: Any = {
    "type": "function",
    "function": {"name": "find", "description": "Finds.", "parameters": {"type": "object"}},
}
ASKED: Any = [{"role": "user", "content": "please find it"}, {"role": "assistant", "content": "I cannot find it."}]


def test_tools_are_not_shown_by_a_question_that_has_their_name() -> None:
    encoder = ChatEncoder(tokenizer_for(stock_template("llama3"), "byte_level"))
    with pytest.raises(TemplateError, match="does not render tool schemas"):
        encoder.encode(ASKED, [FIND], session_id="s")


def test_a_row_is_checked_on_the_day_on_which_it_was_made() -> None:
    encoder = ChatEncoder(tokenizer_for(stock_template("llama3_2"), "byte_level"))
    for day in (None, date(2025, 3, 9)):
        (row,) = encoder.encode(ASKED, (), session_id="s", day=day).rows
        assert all(check.prompt_is_exact and check.text_is_exact for check in verify_row(encoder, ASKED, (), row))


def test_two_templates_of_different_content_have_no_common_format() -> None:
    parts = (
        "{% for m in messages %}<|im_start|>{{ m.role }}\n{% for part in m.content %}{{ part.text }}{% endfor %}"
        "<|im_end|>\n{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
    )
    tokenizer: Any = tokenizer_for(parts + own_template(), "byte_level")
    tokenizer.chat_template = {"default": parts, "tool_use": own_template()}
    encoder = ChatEncoder(tokenizer)
    assert encoder.has_two_templates
    assert encoder.content_format is None
    assert "please find it" in encoder.render(ASKED, (), add_generation_prompt=False)
    assert "<tools>" in encoder.render(ASKED, [FIND], add_generation_prompt=False)


def test_the_template_for_everyone_needs_no_tokens_of_its_own() -> None:
    tokenizer: Any = tokenizer_for("no markup", "byte_level")
    tokenizer.chat_template = own_template()
    encoder = ChatEncoder(tokenizer)
    assert encoder.profile.stop_tokens == ("<eos>",)
    call: Any = {"id": "call00000", "type": "function", "function": {"name": "find", "arguments": "{}"}}
    messages: Any = [ASKED[0], {"role": "assistant", "content": None, "tool_calls": [call]}]
    (row,) = encoder.encode(messages, [FIND], session_id="s").rows
    assert encoder.decode(row.input_ids[row.spans[0].start :]).endswith("</tool_call><eos>")
