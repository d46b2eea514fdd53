"""Which template sources prove that prefixes are preserved, and which do not."""

import pytest

from tests.support.chat import own_template
from trainer.chat.template.prefix_preserving import preserved_from
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
def test_a_template_with_one_pass_over_the_messages_preserved_from(source: str) -> None:
    assert preserved_from(parse(source)) is not None


@pytest.mark.parametrize(
    "source",
    [
        pytest.param("{{ messages | length }}" + LOOP + PROMPT, id="reads the number of messages"),
        pytest.param("{{ messages[-1].role }}" + LOOP + PROMPT, id="reads the last message"),
        pytest.param("{% set last = messages[-1] %}{{ last }}" + LOOP + PROMPT, id="names the last message"),
        pytest.param("{% set some = messages[:2] %}{{ some }}" + LOOP + PROMPT, id="cuts off the end"),
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
    assert preserved_from(parse(source)) is None


@pytest.mark.parametrize(
    ("source", "n_messages"),
    [
        (LOOP + PROMPT, 0),
        ("{{ messages[0].role }}" + LOOP + PROMPT, 1),
        ("{{ messages[1].role }}" + LOOP + PROMPT, 2),
        ("{% set messages = messages[1:] %}{{ messages[0].role }}" + LOOP + PROMPT, 2),
        ("{% if messages | length != 0 %}{{ messages[0].role }}{% endif %}" + LOOP + PROMPT, 1),
    ],
)
def test_messages_that_are_read_before_the_loop_must_be_in_the_prompt(source: str, n_messages: int) -> None:
    assert preserved_from(parse(source)) == n_messages


def in_loop(code: str) -> str:
    return "{% for message in messages %}{{ message.content }}" + code + "{% endfor %}" + PROMPT


@pytest.mark.parametrize(
    "code",
    [
        "{% if loop.last or messages[loop.index0 + 1].role != 'tool' %}x{% endif %}",
        "{% if loop.last or (messages[loop.index].role != 'tool') %}x{% endif %}",
        "{% if not loop.last and loop.nextitem.role == 'tool' %}{% else %}x{% endif %}",
        "{% if loop.nextitem is defined and loop.nextitem['role'] == 'tool' %}y{% endif %}",
        "{% if loop.index0 == 0 or messages[loop.index0 - 1].role != 'tool' %}x{% endif %}",
        "{% if not loop.first and messages[loop.index0 - 1].role == 'tool' %}x{% endif %}",
    ],
)
def test_a_look_ahead_with_the_same_answer_before_an_answer_and_at_the_end_is_allowed(code: str) -> None:
    assert preserved_from(parse(in_loop(code))) is not None


@pytest.mark.parametrize(
    "code",
    [
        "{% if loop.last %}x{% endif %}",
        "{% if loop.last or messages[loop.index0 + 1].role == 'tool' %}x{% endif %}",
        "{% if loop.last or messages[loop.index0 + 1].role != 'assistant' %}x{% endif %}",
        "{% if loop.last or messages[loop.index0 + 2].role != 'tool' %}x{% endif %}",
        "{% if loop.last or messages[loop.index0 + 1].content != 'tool' %}x{% endif %}",
        "{% if loop.last and message.role == 'user' %}x{% endif %}",
        "{% if loop.index0 == 0 or messages[loop.index0 + 1].role != 'tool' %}x{% endif %}",
        "{% if messages[loop.index0 - 1].role != 'tool' %}x{% endif %}",
        "{% if message.n == 0 or messages[message.n].role != 'tool' %}x{% endif %}",
        "{% if loop.index0 == 0 or messages[-1].role != 'tool' %}x{% endif %}",
    ],
)
def test_a_look_ahead_that_can_make_a_difference_is_not_proven(code: str) -> None:
    assert preserved_from(parse(in_loop(code))) is None


@pytest.mark.parametrize(
    "code",
    [
        "{% set i = loop.index0 %}{% for line in message.lines %}{% if messages[i + 1] is not defined %}x{% endif %}"
        "{% endfor %}",
        "{% if loop.index0 > 0 and messages[loop.index0 - 4].role == 'tool' %}x{% endif %}",
        "{% if loop.index0 == 1 or messages[loop.index0 - 1].role == 'tool' %}x{% endif %}",
        "{% if loop.first and messages[loop.index0 - 1].role == 'tool' %}x{% endif %}",
        "{% if not loop.first or messages[loop.index0 - 1].role == 'tool' %}x{% endif %}",
    ],
)
def test_an_index_that_may_wrap_or_that_an_inner_loop_reads_is_not_proven(code: str) -> None:
    assert preserved_from(parse(in_loop(code))) is None
