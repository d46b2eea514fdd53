"""What the probes find out about a template: forms, features, stop tokens, arguments, and reasons to refuse it."""

from typing import Any

import pytest

from tests.support.chat import own_template, stock_template, tokenizer_for
from trainer.chat import ChatEncoder, TemplateProfile
from trainer.chat.profile import FEATURES
from trainer.errors import TemplateError

# A small template with placeholders: CALL writes the arguments, HEAD the generation prompt, END ends a turn.
SMALL = """{%- for m in messages -%}
<|{{ m.role }}|>{{ m.content }}{% for c in m.tool_calls or [] %}[{{ c.function.name }} CALL]{% endfor %}END
{%- endfor -%}
{%- if tools %}{{ tools | tojson }}{% endif -%}
{%- if add_generation_prompt -%}HEAD{% endif -%}"""


def small(
    *, call: str = "{{ c.function.arguments | tojson }}", head: str = "<|assistant|>", end: str = "<|end|>"
) -> str:
    return SMALL.replace("CALL", call).replace("HEAD", head).replace("END", end)


def profile(template: str, **kwargs: Any) -> TemplateProfile:
    tokenizer = tokenizer_for(template + "<|assistant|><|user|><|tool|>", "byte_level")
    tokenizer.chat_template = template
    return ChatEncoder(tokenizer, template_kwargs=kwargs or None).profile


def test_our_own_template_renders_everything_and_preserves_prefixes() -> None:
    found = profile(own_template())
    assert found.renders == set(FEATURES)
    assert found.preserves_prefixes
    assert found.stable
    assert found.refusal is None
    assert found.stop_tokens == ("<|im_end|>",)
    assert found.header.prompt == "<|im_start|>assistant\n"


@pytest.mark.parametrize(
    ("call", "form"),
    [
        ("{{ c.function.arguments | tojson }}", "object"),
        ("{{ c.function.arguments if c.function.arguments is string else c.function.arguments | tojson }}", "object"),
        ("{% for k, v in c.function.arguments.items() %}{{ k }}={{ v }}{% endfor %}", "object"),
        ("{{ c.function.arguments }}", "string"),
        ("{{ 'json:' + c.function.arguments }}", "string"),
    ],
)
def test_call_arguments_have_the_form_that_is_neither_encoded_twice_nor_python(call: str, form: str) -> None:
    found = profile(small(call=call))
    assert "tool calls" in found.renders
    assert found.argument_form == form


@pytest.mark.parametrize(
    ("name", "stops"),
    [
        ("gptoss", ("<|return|>", "<|call|>")),
        ("gemma4", ("<turn|>", "<|tool_response>")),
        ("glm4moe", ("<|user|>", "<|observation|>")),
        ("cohere2", ("<|END_OF_TURN_TOKEN|>",)),
        ("phi3", ("<|end|>",)),
        ("deepseekv3", ("<｜end▁of▁sentence｜>",)),
    ],
)
def test_stop_tokens_are_those_that_the_model_has_to_write(name: str, stops: tuple[str, ...]) -> None:
    found = profile(stock_template(name))
    assert found.stop_tokens == stops
    assert len(set(found.stop_token_ids)) == len(stops)


@pytest.mark.parametrize(
    ("name", "kwargs"),
    [
        ("own", ()),
        ("qwen3", ("enable_thinking",)),
        ("gemma4_v5", ("enable_thinking", "preserve_thinking")),
        ("llama3_2", ("custom_tools", "date_string", "tools_in_user_message")),
        ("gptoss", ("builtin_tools", "model_identity", "reasoning_effort")),
    ],
)
def test_template_kwargs_are_the_names_that_a_caller_may_set(name: str, kwargs: tuple[str, ...]) -> None:
    assert profile(own_template() if name == "own" else stock_template(name)).template_kwargs == kwargs


def test_thinking_is_off_by_default_only_if_the_template_takes_enable_thinking() -> None:
    for name, kwargs in (("qwen3", {"enable_thinking": False}), ("qwen2_5", {})):
        assert ChatEncoder(tokenizer_for(stock_template(name), "byte_level")).template_kwargs == kwargs


def test_an_argument_that_the_template_does_not_take_is_shown() -> None:
    found = profile(stock_template("qwen2_5"), enable_thinking=False)
    assert found.ignored_kwargs == ("enable_thinking",)
    assert "enable_thinking" in found.plain()


def test_rewritten_history_is_noticed() -> None:
    assert not profile(stock_template("qwen3")).stable
    assert profile(stock_template("qwen2_5")).stable
    assert not profile(stock_template("qwen2_5")).preserves_prefixes


def test_a_closed_thinking_block_that_only_the_generation_prompt_has_stays_in_the_prompt() -> None:
    found = profile(small(head="<|assistant|><think>\n\n</think>\n\n"))
    assert found.refusal is None
    assert found.header.unwritten == "<think>\n\n</think>\n\n"


@pytest.mark.parametrize(
    ("template", "reason"),
    [
        (small(head="<|assistant|><think>\n"), "generation prompt ends with '<think>"),
        (small(head="<|bot|>"), "generation prompt ends with"),
        (small(end="\n"), "no special token"),
        (small().replace("{{ m.content }}", ""), "drops the text"),
        ("{{ raise_exception('nothing for you') }}", "nothing for you"),
        ("{{ strftime_now('%d') }}" + small(), "writes the current date"),
        (
            "{% if not date is defined %}{% set date = strftime_now('%d') %}{% endif %}{{ date }}" + small(),
            "set date in",
        ),
        ("{% if tools %}{{ strftime_now('%d') }}{% endif %}" + small(), "writes the current date"),
    ],
)
def test_a_refused_template_has_its_reason(template: str, reason: str) -> None:
    refusal = profile(template).refusal
    assert refusal is not None
    assert reason in refusal


def test_a_fixed_date_is_not_a_reason_to_refuse() -> None:
    assert profile(stock_template("llama3_2"), date_string="26 Jul 2024").refusal is None


def test_a_tokenizer_without_a_template_is_refused_by_name() -> None:
    tokenizer = tokenizer_for("", "byte_level")
    tokenizer.chat_template = None
    with pytest.raises(TemplateError, match=r"no chat template; set model\.chat_template_path"):
        ChatEncoder(tokenizer)


def test_the_error_of_a_template_that_cannot_be_parsed_names_the_line() -> None:
    with pytest.raises(TemplateError, match="line 2"):
        ChatEncoder(tokenizer_for("ok\n{% if %}", "byte_level"))


def test_the_profile_is_shown_as_text_and_as_a_table() -> None:
    found = profile(stock_template("deepseekv3"))
    assert "refused: its generation prompt ends with" in found.plain()
    assert found.table().row_count == len(found.rows()) == len(found.plain().splitlines())
