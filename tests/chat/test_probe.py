"""What the probes find out about a template: forms, features, stop tokens, arguments, and reasons to refuse it."""

from typing import Any

import pytest
from transformers import PreTrainedTokenizerFast

from tests.support.chat import own_template, stock_template, tokenizer_for
from trainer.chat import ChatEncoder, TemplateProfile
from trainer.chat.profile import FEATURES
from trainer.errors import TemplateError
from trainer.types import Message

QUESTION: Message = {"role": "user", "content": "Hi"}
ANSWER: Message = {"role": "assistant", "content": "Hello"}
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


def tokenizer_with(template: str) -> PreTrainedTokenizerFast:
    tokenizer = tokenizer_for(template + "<|assistant|><|user|><|tool|>", "byte_level")
    tokenizer.chat_template = template
    return tokenizer


def profile(template: str, **kwargs: Any) -> TemplateProfile:
    return ChatEncoder(tokenizer_with(template), template_kwargs=kwargs or None).profile


def test_our_own_template_renders_everything_and_preserves_prefixes() -> None:
    found = profile(own_template())
    assert found.renders == set(FEATURES)
    assert found.preserves_prefixes
    assert found.stable
    assert found.refusal is None
    assert found.stop_tokens == ("<eos>",)
    assert found.header.prompt == "<|im_start|>assistant\n"


def test_our_own_template_ends_turns_with_chatml_if_the_tokenizer_has_no_eos() -> None:
    tokenizer = tokenizer_for(own_template(), "byte_level")
    tokenizer.eos_token = None
    assert ChatEncoder(tokenizer).profile.stop_tokens == ("<|im_end|>",)


@pytest.mark.parametrize(
    ("call", "is_written"),
    [
        ("{{ c.function.arguments | tojson }}", True),
        ("{{ c.function.arguments if c.function.arguments is string else c.function.arguments | tojson }}", True),
        ("{% for k, v in c.function.arguments.items() %}{{ k }}={{ v }}{% endfor %}", True),
        # A server decodes the arguments, so these write a Python object, raise an error, or encode a second time.
        ("{{ c.function.arguments }}", False),
        ("{{ 'json:' + c.function.arguments }}", False),
        ("{{ c.function.arguments | tojson | tojson }}", False),
    ],
)
def test_tool_calls_are_rendered_only_if_decoded_arguments_come_out_as_json(call: str, is_written: bool) -> None:
    found = profile(small(call=call))
    assert ("tool calls" in found.renders) == is_written
    assert found.refusal is None


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
    assert not profile(stock_template("qwen3")).preserves_prefixes
    assert profile(stock_template("qwen2_5")).preserves_prefixes


def test_a_closed_thinking_block_that_only_the_generation_prompt_has_stays_in_the_prompt() -> None:
    found = profile(small(head="<|assistant|><think>\n\n</think>\n\n"))
    assert found.refusal is None
    assert found.header.unwritten == "<think>\n\n</think>\n\n"


@pytest.mark.parametrize(
    ("template", "reason"),
    [
        ("{% for m in messages %}{{ m.role }}: {{ m.content }}\n{% endfor %}", "no special token ends"),
        (small().replace("{{ m.content }}", ""), "drops the text"),
        ("{{ raise_exception('nothing for you') }}", "nothing for you"),
    ],
)
def test_a_refused_template_has_its_reason(template: str, reason: str) -> None:
    found = profile(template)
    assert found.refusal is not None
    assert reason in found.refusal
    assert f"refused: {found.refusal}" in found.plain()


@pytest.mark.parametrize(
    ("head", "reason"),
    [
        ("<|assistant|><think>\n", r"turn 1: its generation prompt ends with '<think>\\n'"),
        ("<|assistant|>[THINK]", r"turn 1: its generation prompt ends with '\[THINK\]'"),
        ("<|bot|>", "turn 1: the template does not write this turn as a continuation"),
    ],
)
def test_a_generation_prompt_that_no_turn_begins_with_is_refused_by_row(head: str, reason: str) -> None:
    encoder = ChatEncoder(tokenizer_with(small(head=head)))
    assert encoder.profile.refusal is None
    with pytest.raises(TemplateError, match=reason):
        encoder.encode([QUESTION, ANSWER], (), session_id="s")


NOW = "{{ strftime_now('%d') }}"


@pytest.mark.parametrize(
    ("template", "argument", "reads_clock"),
    [
        (small(), None, False),
        (NOW + small(), None, True),
        ("{% if tools %}" + NOW + "{% endif %}" + small(), None, True),
        (
            f"{{% if date is not defined %}}{{% set date = {NOW[2:-2]} %}}{{% endif %}}{{{{ date }}}}",
            ("date", "%d"),
            True,
        ),
        ("{{ date_today if date_today is defined else strftime_now('%d %B') }}", ("date_today", "%d %B"), True),
        ("{% set day_date = day_date | default('3 June 2024') %}{{ day_date }}", ("day_date", "%d %B %Y"), False),
        (
            "{% if a_date is not defined %}{% set a_date = '2024-07-26' %}{% endif %}{{ a_date }}",
            ("a_date", "%Y-%m-%d"),
            False,
        ),
        # The form of this date is not known, so it stays as it is.
        ("{% if date is not defined %}{% set date = 'today' %}{% endif %}{{ date }}", None, False),
    ],
)
def test_a_date_is_no_reason_to_refuse_but_is_found(
    template: str, argument: tuple[str, str] | None, reads_clock: bool
) -> None:
    found = profile(template if template.endswith(small()) else template + small())
    assert found.refusal is None
    assert found.dates == (argument, reads_clock)


def test_a_fixed_date_stays_as_it_is() -> None:
    found = profile(stock_template("llama3_2"), date_string="26 Jul 2024")
    assert found.refusal is None
    assert found.dates.argument is None


def test_a_tokenizer_without_a_template_is_refused_by_name() -> None:
    tokenizer = tokenizer_for("", "byte_level")
    tokenizer.chat_template = None
    with pytest.raises(TemplateError, match=r"no chat template; set model\.chat_template_path"):
        ChatEncoder(tokenizer)


def test_the_error_of_a_template_that_cannot_be_parsed_names_the_line() -> None:
    with pytest.raises(TemplateError, match="line 2"):
        ChatEncoder(tokenizer_for("ok\n{% if %}", "byte_level"))


@pytest.mark.parametrize("name", ["deepseekv3", "llama3_2", "qwen3"])
def test_the_profile_is_shown_as_text_and_as_a_table(name: str) -> None:
    found = profile(stock_template(name))
    assert "usable; every row is checked" in found.plain()
    assert found.table().row_count == len(found.rows()) == len(found.plain().splitlines())
    assert ("as the template argument date_string" in found.plain()) == (name == "llama3_2")
