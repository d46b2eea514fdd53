"""The tests' own copy of the server's rules does what is written here by hand."""

import json
from datetime import datetime
from typing import Any

import pytest
from transformers import PreTrainedTokenizerFast

from tests.support.chat import tokenizer_for
from tests.support.vllm_rules import (
    ContentFormat,
    content_format,
    server_messages,
    server_prompt,
    server_prompt_ids,
    server_template_kwargs,
    server_tools,
)

FORMATS: tuple[ContentFormat, ...] = ("string", "openai")
DUMP = "{{ messages | tojson }}"


def call(arguments: str, **others: Any) -> dict[str, Any]:
    return {"id": "call00001", "type": "function", "function": {"name": "find", "arguments": arguments}, **others}


def tokenizer_with(template: Any) -> PreTrainedTokenizerFast:
    tokenizer = tokenizer_for(template if isinstance(template, str) else "", "byte_level")
    tokenizer.chat_template = template
    return tokenizer


@pytest.mark.parametrize(
    ("sent", "in_string", "in_parts"),
    [
        ("Hi", "Hi", [{"type": "text", "text": "Hi"}]),
        ("", "", [{"type": "text", "text": ""}]),
        (None, "", []),
        ([{"type": "text", "text": "a"}, {"type": "text", "text": "b"}], "a\nb", [
            {"type": "text", "text": "a"}, {"type": "text", "text": "b"}
        ]),
    ],
)  # fmt: skip
def test_content_is_a_text_or_a_list_of_parts(sent: Any, in_string: str, in_parts: list[dict[str, str]]) -> None:
    message = {"role": "assistant", "content": sent}
    assert server_messages([message], "string") == [{"role": "assistant", "content": in_string}]
    assert server_messages([message], "openai") == [{"role": "assistant", "content": in_parts}]


def test_missing_content_is_like_null() -> None:
    wire = [{"role": "assistant", "tool_calls": [call("{}")]}]
    assert [server_messages(wire, form)[0]["content"] for form in FORMATS] == ["", []]


@pytest.mark.parametrize("form", FORMATS)
def test_a_tool_result_is_always_one_text(form: ContentFormat) -> None:
    wire = {"role": "tool", "content": "found", "tool_call_id": "call00001", "name": "find"}
    shown = {"role": "tool", "content": "found", "tool_call_id": "call00001", "name": "find"}
    assert server_messages([wire, {**wire, "content": ""}], form) == [shown, {**shown, "content": ""}]


def test_a_call_is_decoded_and_its_keys_are_in_the_order_of_the_server() -> None:
    (message,) = server_messages([{"role": "assistant", "tool_calls": [call('{"b": 1, "a": [2]}')]}], "string")
    assert json.dumps(message["tool_calls"]) == (
        '[{"id": "call00001", "function": {"arguments": {"b": 1, "a": [2]}, "name": "find"}, "type": "function"}]'
    )


@pytest.mark.parametrize("arguments", ["", "{}", "not JSON", "[1]", "null", "3"])
def test_arguments_that_are_not_an_object_become_an_empty_one(arguments: str) -> None:
    (message,) = server_messages([{"role": "assistant", "tool_calls": [call(arguments)]}], "string")
    assert message["tool_calls"][0]["function"]["arguments"] == {}


@pytest.mark.parametrize("calls", [[], None])
def test_an_empty_list_of_calls_is_dropped(calls: Any) -> None:
    assert "tool_calls" not in server_messages([{"role": "assistant", "content": "", "tool_calls": calls}], "string")[0]


def test_reasoning_has_two_names() -> None:
    sent: dict[str, Any] = {"role": "assistant", "content": "x"}
    wire = [{**sent, "reasoning_content": "a"}, {**sent, "reasoning": "b", "reasoning_content": "a"}]
    wire += [{**sent, "reasoning_content": ""}, {**sent, "reasoning_content": None}]
    assert server_messages(wire, "string") == [
        {**sent, "reasoning": "a", "reasoning_content": "a"},
        {**sent, "reasoning": "b", "reasoning_content": "b"},
        {**sent, "reasoning": "", "reasoning_content": ""},
        sent,
    ]


def test_other_roles_have_no_reasoning_and_keep_their_name() -> None:
    wire = [{"role": "user", "content": "x", "name": "Ann", "reasoning_content": "a"}]
    assert server_messages(wire, "string") == [{"role": "user", "content": "x", "name": "Ann"}]


def test_the_changing_first_line_of_one_client_is_removed_from_system_messages() -> None:
    line = "x-anthropic-billing-header: cch=1"
    wire = [{"role": role, "content": text} for role in ("system", "user") for text in (f"{line}\nBe brief.", line)]
    assert [m["content"] for m in server_messages(wire, "string")] == ["Be brief.", "", f"{line}\nBe brief.", line]
    assert [m["content"] for m in server_messages(wire[:2], "openai")] == [[{"type": "text", "text": "Be brief."}], []]


def test_a_role_that_the_reference_does_not_know_is_refused() -> None:
    with pytest.raises(ValueError, match="developer"):
        server_messages([{"role": "developer", "content": "x"}], "string")


def test_tools_have_the_keys_order_and_nulls_of_the_server() -> None:
    tools = [
        {"type": "function", "function": {"name": "a"}},
        {"function": {"strict": False, "parameters": {"b": 1, "a": None}, "name": "b", "x": 1}, "type": "function"},
        {"type": "function", "function": {"name": "c", "description": "", "strict": None}},
    ]
    assert json.dumps(server_tools(tools)) == (
        '[{"type": "function", "function": {"name": "a", "description": null, "parameters": null}}, '
        '{"type": "function", "function": {"name": "b", "description": null, "parameters": {"b": 1, "a": null}, '
        '"strict": false}}, '
        '{"type": "function", "function": {"name": "c", "description": "", "parameters": null}}]'
    )


def test_only_arguments_that_the_template_reads_and_that_have_a_value_reach_it() -> None:
    given = {"date_string": "today", "unread": 1, "thinking": None, "mode": "auto", "flag": False, "effort": 0}
    template = "{{ date_string }}{{ thinking }}{{ mode }}{{ flag }}{{ effort }}{% set unread = 2 %}{{ unread }}"
    assert server_template_kwargs(template, given) == {"date_string": "today", "flag": False, "effort": 0}


def test_the_generation_prompt_cannot_be_switched_off_by_a_template_argument() -> None:
    tokenizer = tokenizer_with("{{ add_generation_prompt }}")
    wire = [{"role": "user", "content": "x"}]
    assert server_prompt(tokenizer, wire, template_kwargs={"add_generation_prompt": False}) == "True"


@pytest.mark.parametrize(
    ("template", "form"),
    [
        ("{% for m in messages %}{{ m.content }}{% endfor %}", "string"),
        ("{% for m in messages %}{% for p in m.content %}{% endfor %}{% endfor %}", "openai"),
        ("{% for m in messages %}{% for p in m['content'] | list %}{% endfor %}{% endfor %}", "openai"),
        ("{% for m in messages %}{% for p in m.content[1:] %}{% endfor %}{% endfor %}", "openai"),
        ("{% set ms = messages[1:] %}{% for m in ms %}{% for p in m.content %}{% endfor %}{% endfor %}", "openai"),
        (
            "{% for m in messages %}{% set content = m.content %}{% for p in content %}{% endfor %}{% endfor %}",
            "openai",
        ),
        # It looks only at the name.
        ("{% set content = [1] %}{% for p in content %}{% endfor %}", "openai"),
        ("{% for m in messages %}{% set c = m.content %}{% for p in c %}{% endfor %}{% endfor %}", "string"),
        ("{% for p in messages[0].content %}{% endfor %}", "string"),
        ("{% for m in messages %}{% for p in m.content or [] %}{% endfor %}{% endfor %}", "string"),
        (
            "{% macro show(x) %}{% for p in x %}{% endfor %}{% endmacro %}"
            "{% for m in messages %}{{ show(m.content) }}{% endfor %}",
            "openai",
        ),
        (
            "{% macro show(x) %}{% for p in x %}{% endfor %}{% endmacro %}"
            "{% for m in messages %}{{ show(x=m.content) }}{% endfor %}",
            "openai",
        ),
        (
            "{% macro show(content) %}{% for p in content %}{% endfor %}{% endmacro %}"
            "{% for m in messages %}{{ show(m.tool_calls) }}{% endfor %}",
            "string",
        ),
        # A target that is not a plain name ends the server's search.
        ("{% for a, b in messages %}{% endfor %}{% for p in content %}{% endfor %}", "string"),
    ],
)
def test_the_content_format_follows_from_the_loops_of_the_template(template: str, form: ContentFormat) -> None:
    assert content_format(template) == form


def test_the_prompt_ends_with_the_generation_prompt_and_shows_tools() -> None:
    template = "{{ tools | tojson }}{% for m in messages %}{{ m.content }}{% endfor %}{% if add_generation_prompt %}>"
    tokenizer = tokenizer_with(template + "{% endif %}")
    wire, tools = [{"role": "user", "content": "x"}], [{"type": "function", "function": {"name": "a"}}]
    assert server_prompt(tokenizer, wire) == "nullx>"
    assert server_prompt(tokenizer, wire, tools).startswith('[{"type": "function", "function": {"name": "a", "desc')


def test_a_given_content_format_overrides_the_detected_one() -> None:
    tokenizer, wire = tokenizer_with(DUMP), [{"role": "user", "content": "x"}]
    assert server_prompt(tokenizer, wire) == '[{"role": "user", "content": "x"}]'
    assert '"content": [{"type": "text"' in server_prompt(tokenizer, wire, content_format="openai")


def test_the_time_can_be_set() -> None:
    tokenizer, wire = tokenizer_with("{{ strftime_now('%d %b %Y') }}"), [{"role": "user", "content": "x"}]
    assert server_prompt(tokenizer, wire, now=datetime(2024, 7, 26)) == "26 Jul 2024"
    assert server_prompt(tokenizer, wire) == f"{datetime.now():%d %b %Y}"


def test_of_several_templates_the_one_for_tools_is_taken_if_there_are_tools() -> None:
    wire, tools = [{"role": "user", "content": "x"}], [{"type": "function", "function": {"name": "a"}}]
    both = tokenizer_with({"default": "plain", "tool_use": "with tools"})
    assert (server_prompt(both, wire), server_prompt(both, wire, tools)) == ("plain", "with tools")
    assert server_prompt(tokenizer_with({"default": "plain"}), wire, tools) == "plain"


def test_no_special_token_is_added_to_those_of_the_template() -> None:
    tokenizer = tokenizer_for("<bos>{% for m in messages %}{{ m.content }}{% endfor %}")
    ids = server_prompt_ids(tokenizer, [{"role": "user", "content": "x"}])
    assert tokenizer.decode(ids) == "<bos>x"
