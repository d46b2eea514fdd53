"""Messages have the server's shape, and the content format is the one that the server detects."""

from typing import Any

import pytest

from tests.support.chat import own_template, stock_template
from tests.support.odd_samples import ALL_SAMPLES
from tests.support.odd_templates import ODD_TEMPLATES
from tests.support.template_cases import STOCK
from tests.support.vllm_rules import ContentFormat, content_format, server_messages
from trainer.chat import canonical_messages
from trainer.chat.template.server_shape import detected_format, server_message
from trainer.chat.template.source import parse
from trainer.endpoint.request import wire_messages

TEXTS = {"own": own_template()} | {name: stock_template(name) for name in STOCK}
TEXTS |= {name: odd.text for name, odd in ODD_TEMPLATES.items()}
FORMATS: tuple[ContentFormat, ...] = ("string", "openai")


def over(content: str, *, before: str = "", messages: str = "messages", item: str = "m") -> str:
    """Return a template with a loop over this content, in a loop over these messages."""
    inner = "{% for p in " + content + " %}{{ p.text }}{% endfor %}"
    return before + "{% for " + item + " in " + messages + " %}" + inner + "{% endfor %}"


def macro(call: str, *, parameters: str = "x", loop: str = "x") -> str:
    """Return a template that calls a macro with a loop."""
    body = "{% for p in " + loop + " %}{{ p.text }}{% endfor %}"
    return (
        "{% macro show("
        + parameters
        + ") %}"
        + body
        + "{% endmacro %}{% for m in messages %}{{ "
        + call
        + " }}{% endfor %}"
    )


SMALL = [
    "",
    "{{ messages }}",
    # The loop itself.
    over("m.content"),
    over("m['content']"),
    over("m.tool_calls"),
    over("m.content.parts"),
    over("m.inner.content"),
    over("m[0].content"),
    over("n.content"),
    over("m.content or []"),
    over("(m.content if m.content is not string else [])"),
    over("m.get('content')"),
    over("m.content.items()"),
    over("[m.content]"),
    over("m.content + []"),
    # Filters, tests and slices.
    over("m.content | list"),
    over("m.content | selectattr('type') | list"),
    over("m.content[1:]"),
    over("m.content[1:] | list"),
    over("(m.content | list)[:2]"),
    over("m.content is iterable"),
    over("m.content[0]"),
    over("(m | list).content"),
    over("m[1:].content"),
    over("(m | default({})).content"),
    # What the messages are called.
    over("m.content", messages="messages[1:]"),
    over("m.content", messages="messages | list"),
    over("m.content", messages="(messages | list)[1:]"),
    over("m.content", messages="messages[::-1] | list"),
    over("m.content", messages="messages or []"),
    over("m.content", messages="messages[0]"),
    over("m.content", messages="other"),
    over("m.content", messages="(messages if x else [])"),
    over("m.content", messages="ms", before="{% set ms = messages %}"),
    over("m.content", messages="ms", before="{% set ms = messages[1:] | list %}"),
    over("m.content", messages="b", before="{% set a = messages %}{% set b = a[1:] %}"),
    over("m.content", messages="b", before="{% set b = a %}{% set a = messages %}"),
    over("m.content", messages="a", before="{% set a = messages %}{% set a = other %}"),
    over("m.content", messages="ns.ms", before="{% set ns = namespace() %}{% set ns.ms = messages %}"),
    over("m.content", messages="a", before="{% set a, b = messages, other %}"),
    over("m.content", messages="ms", before="{% if x %}{% set ms = messages %}{% else %}{% set ms = [] %}{% endif %}"),
    over("m.content", messages="ms", before="{% set ms %}{{ messages }}{% endset %}"),
    over("m.content", messages="ms", before="{% set ms = messages or [] %}"),
    over("messages[0].content"),
    over("messages[0]['content']"),
    # Targets that are tuples.
    over("a.content", item="a, b"),
    "{% for a, b in other %}{% endfor %}" + over("m.content"),
    "{% for m in messages %}{% for k, v in m.items() %}{% for p in v.content %}{% endfor %}{% endfor %}{% endfor %}",
    over("m.content") + "{% for k, v in content %}{% endfor %}",
    # A variable of this name.
    over("content", before="{% set content = 1 %}"),
    over("content"),
    over("content | list"),
    over("content[1:]"),
    over("contents"),
    "{% set content = messages[0].content %}{% for p in content %}{% endfor %}",
    "{% for content in messages %}{% for p in content.content %}{% endfor %}{% endfor %}",
    "{% for m in messages %}{% set c = m.content %}{% for p in c %}{% endfor %}{% endfor %}",
    "{% for content in messages %}{% endfor %}",
    # Parameters of macros.
    macro("show(m.content)"),
    macro("show(x=m.content)"),
    macro("show(m['content'])"),
    macro("show(m.content | list)"),
    macro("show(m.content[1:])"),
    macro("show(m.tool_calls)"),
    macro("show(m)", loop="x.content"),
    macro("show(m.content)", loop="x | list"),
    macro("show(m.content)", loop="x[1:]"),
    macro("show(m.content)", loop="x or []"),
    macro("show(m.content)", loop="y"),
    macro("show(m.content, 1)", parameters="x, y", loop="y"),
    macro("show(1, m.content)", parameters="x, y", loop="y"),
    macro("show(1, y=m.content)", parameters="x, y=none", loop="y"),
    macro("show(1, z=m.content)", parameters="x, y=none", loop="y"),
    macro("show(m.content, m.content)"),
    macro("show(m.tool_calls)", parameters="content", loop="content"),
    macro("show(m.content)", parameters="content", loop="content"),
    macro("show(m.content)", parameters="x", loop="content"),
    macro("other(m.content)"),
    macro("m.show(m.content)"),
    macro("show(m.content)", loop="m.content"),
    macro("''"),
    macro("show(m.tool_calls)") + over("content"),
    "{% macro a(x) %}{% macro b(y) %}{% for p in y %}{% endfor %}{% endmacro %}{{ b(x) }}{% endmacro %}"
    "{% for m in messages %}{{ a(m.content) }}{% endfor %}",
    "{% macro a(content) %}{% macro b(y) %}{% for p in content %}{% endfor %}{% endmacro %}{{ b(1) }}{% endmacro %}"
    "{% for m in messages %}{{ a(m.content) }}{% endfor %}",
    "{% macro a(x) %}{% for p in x %}{% for q in content %}{% endfor %}{% endfor %}{% endmacro %}{{ a(1) }}",
]  # fmt: skip

# The server's search stops at a target that is a tuple, and falls back to text.
STOPPED = [
    over("content", item="a, content"),
    over("content", item="a, b"),
    "{% for a, b in messages %}{% endfor %}" + over("m.content"),
    "{% for m in messages %}{% for k, v in m.content %}{{ k }}{% endfor %}{% endfor %}",
    "{% for k, v in content %}{% endfor %}",
    "{% macro a(x) %}{% for k, v in x %}{% endfor %}{% endmacro %}"
    "{% for m in messages %}{{ a(m.content) }}{% endfor %}",
]


@pytest.mark.parametrize("name", TEXTS)
def test_the_format_of_a_template_is_the_one_that_the_server_detects(name: str) -> None:
    assert detected_format(parse(TEXTS[name])) == content_format(TEXTS[name])


@pytest.mark.parametrize("text", SMALL)
def test_the_format_of_a_small_template_is_the_one_that_the_server_detects(text: str) -> None:
    assert detected_format(parse(text)) == content_format(text)


@pytest.mark.parametrize("text", STOPPED)
def test_the_format_is_text_if_the_search_of_the_server_stops_at_a_tuple(text: str) -> None:
    assert content_format(text) == "string"
    assert detected_format(parse(text)) == "string"


def test_the_small_templates_are_of_both_kinds() -> None:
    found = [content_format(text) for text in SMALL]
    assert min(found.count(form) for form in FORMATS) >= 15


@pytest.mark.parametrize("form", FORMATS)
def test_messages_have_the_shape_of_the_server(form: ContentFormat) -> None:
    for session in ALL_SAMPLES:
        messages: Any = canonical_messages(session.messages)
        shaped = [server_message(message, form) for message in messages]
        served = server_messages(wire_messages(messages), form)
        assert shaped == served
        # A template that dumps a call shows the order of its keys.
        for ours, theirs in zip(shaped, served, strict=True):
            assert repr(ours.get("tool_calls")) == repr(theirs.get("tool_calls"))
