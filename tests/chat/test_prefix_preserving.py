"""Which template sources prove that prefixes are preserved, and which do not."""

import pytest

from tests.support.chat import own_template
from trainer.chat.template.prefix_preserving import preserves_prefixes
from trainer.chat.template.source import parse

BODY = "{{ message.role }}: {{ message.content }}\n"
LOOP = "{% for message in messages %}" + BODY + "{% endfor %}"
PROMPT = "{% if add_generation_prompt %}assistant: {% endif %}"


@pytest.mark.parametrize(
    "source",
    [
        LOOP + PROMPT,
        "{% for m in messages %}{% if loop.first %}<s>{% endif %}{{ loop.index0 }}{{ m.content }}{% endfor %}" + PROMPT,
        "{% if messages[0].role == 'system' %}{{ messages[0].content }}{% set rest = messages[1:] %}"
        "{% else %}{% set rest = messages %}{% endif %}{% for m in rest %}{{ m.content }}{% endfor %}" + PROMPT,
        "{% for m in messages %}{% for c in m.tool_calls %}{{ c }}{% if not loop.last %},{% endif %}{% endfor %}"
        "{% endfor %}" + PROMPT,
        "{% set ns = namespace(n=0) %}{% for m in messages %}{% set ns.n = ns.n + 1 %}{{ ns.n }}{% endfor %}" + PROMPT,
        LOOP + "{% if add_generation_prompt %}{% if enable_thinking %}<think>{% endif %}{% endif %}",
        own_template(),
    ],
)
def test_a_template_with_one_pass_over_the_messages_preserves_prefixes(source: str) -> None:
    assert preserves_prefixes(parse(source))


@pytest.mark.parametrize(
    "source",
    [
        pytest.param("{{ messages | length }}" + LOOP + PROMPT, id="reads the number of messages"),
        pytest.param("{{ messages[-1].role }}" + LOOP + PROMPT, id="reads the last message"),
        pytest.param("{{ messages[1].role }}" + LOOP + PROMPT, id="reads the second message"),
        pytest.param("{% set last = messages[-1] %}{{ last }}" + LOOP + PROMPT, id="names the last message"),
        pytest.param("{% set some = messages[:2] %}{{ some }}" + LOOP + PROMPT, id="cuts off the end"),
        pytest.param("{% set messages = messages[1:] %}{{ messages[0].role }}" + LOOP + PROMPT, id="first of the rest"),
        pytest.param(
            "{% for m in messages %}{{ loop.last }}{% endfor %}" + PROMPT, id="asks whether it is the last turn"
        ),
        pytest.param("{% for m in messages %}{{ loop.nextitem }}{% endfor %}" + PROMPT, id="looks ahead"),
        pytest.param(
            "{% for m in messages %}{{ loop.length }}{% endfor %}" + PROMPT, id="reads the length of the loop"
        ),
        pytest.param("{% for m in messages %}{{ loop }}{% endfor %}" + PROMPT, id="passes the loop on"),
        pytest.param(
            "{% for m in messages %}{% for c in loop.nextitem %}{% endfor %}{% endfor %}" + PROMPT,
            id="looks ahead in the range of an inner loop",
        ),
        pytest.param("{% for m in messages[::-1] %}{{ m }}{% endfor %}" + PROMPT, id="iterates backwards"),
        pytest.param("{% for m in messages if m.content %}{{ m }}{% endfor %}" + PROMPT, id="filters"),
        pytest.param("{% for m in messages %}{{ m }}{% else %}x{% endfor %}" + PROMPT, id="has an else"),
        pytest.param(LOOP + LOOP + PROMPT, id="iterates twice"),
        pytest.param("{% if tools %}" + LOOP + "{% endif %}" + PROMPT, id="loop in a branch"),
        pytest.param("{% set text %}" + LOOP + "{% endset %}{{ text }}" + PROMPT, id="loop in a block"),
        pytest.param(
            "{% for m in messages %}{% if add_generation_prompt %}x{% endif %}{{ m }}{% endfor %}",
            id="generation prompt inside the loop",
        ),
        pytest.param("{{ add_generation_prompt }}" + LOOP, id="generation prompt before the loop"),
        pytest.param(LOOP + "{% if add_generation_prompt and tools %}x{% endif %}", id="tail reads tools"),
        pytest.param(LOOP + "{{ messages[0].role }}" + PROMPT, id="tail reads a message"),
        pytest.param(
            "{% set ns = namespace(last='') %}{% for m in messages %}{% set ns.last = m.role %}{% endfor %}"
            "{% if add_generation_prompt and ns.last == 'user' %}assistant: {% endif %}",
            id="tail depends on the loop",
        ),
        pytest.param(
            "{% macro tail() %}{{ messages[0].role }}{% endmacro %}" + LOOP + "{{ tail() }}", id="tail calls a macro"
        ),
        pytest.param(
            "{% macro size(messages) %}{{ messages | length }}{% endmacro %}{{ size(messages) }}" + LOOP + PROMPT,
            id="passes the messages to a macro",
        ),
        pytest.param("{% set messages = other %}" + LOOP + PROMPT, id="another list"),
        pytest.param("no loop" + PROMPT, id="no loop"),
    ],
)
def test_a_template_that_may_look_ahead_is_not_proven(source: str) -> None:
    assert not preserves_prefixes(parse(source))
