"""The parts of the odd templates, and functions that put them together: see `odd_templates`."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from tests.support.odd_samples import ALL_SAMPLES
from tests.support.vllm_rules import ContentFormat


@dataclass(frozen=True)
class OddTemplate:
    """A template, the tokens that its tokenizer needs, and what is known about it.

    `added_tokens` are tokens of the tokenizer that are not special. `stop_text` and `stop_call` end a turn without and
    with calls. `content_format` is what a server must be started with if it does not see that by itself. `refused`
    maps the names of conversations to the reason; every other conversation is proven.
    """

    text: str
    note: str
    special_tokens: tuple[str, ...]
    eos: str
    stop_text: str
    stop_call: str
    added_tokens: tuple[str, ...] = ()
    kwargs: Mapping[str, Any] = field(default_factory=dict)
    content_format: ContentFormat | None = None
    refused: Mapping[str, str] = field(default_factory=dict)

    def expected(self, sample: str) -> str:
        """Return "proven", or the reason why the conversation of this name is refused."""
        return self.refused.get(sample, "proven")


def refused_for(reason: str, *names: str) -> dict[str, str]:
    """Return the reason for each of these conversations, or for every one if no name is given."""
    return dict.fromkeys(names or [session.session_id for session in ALL_SAMPLES], reason)


# Jinja drops a line break after a block, so no part writes one there.
# The usual parts of a template. A loop over the messages calls one of them `m`.
SCHEMAS = "{% if tools %}<tools>{{ tools | tojson }}</tools>{% endif %}"
REASONING = "{% if m.reasoning_content %}<think>{{ m.reasoning_content }}</think>{% endif %}"
CALLS = (
    "{% for c in m.tool_calls or [] %}<call>{{ c.function.name }} {{ c.function.arguments | tojson }}</call>"
    "{% endfor %}"
)
BODY = REASONING + "{{ m.content }}" + CALLS
_END = "{% endfor %}"


def asked(header: str) -> str:
    """Return the source that writes this header if the caller asks for a generation prompt."""
    return "{% if add_generation_prompt %}" + header + "{% endif %}"


_IM, IM_ASSISTANT = "<|im_start|>{{ m.role }}\n", "<|im_start|>assistant\n"
IM_TOKENS = ("<|im_start|>", "<|im_end|>")


def chatml(
    note: str,
    *,
    before: str = SCHEMAS + "{% for m in messages %}",
    body: str = BODY,
    close: str = "<|im_end|>\n",
    header: str = IM_ASSISTANT,
    **others: Any,
) -> OddTemplate:
    """Return a template of turns `<|im_start|>role … <|im_end|>` in which some parts are replaced."""
    text = before + _IM + body + close + _END + asked(header)
    usual: dict[str, Any] = {"special_tokens": IM_TOKENS, "eos": "<|im_end|>"}
    usual |= {"stop_text": "<|im_end|>", "stop_call": "<|im_end|>"}
    return OddTemplate(text=text, note=note, **usual | others)


def llama(note: str, *, eos: str) -> OddTemplate:
    """Return a template like Llama's that always ends with the header of an assistant turn."""
    header = "<|start_header_id|>assistant<|end_header_id|>\n\n"
    turn = "<|start_header_id|>{{ m.role }}<|end_header_id|>\n\n" + BODY + "<|eot_id|>"
    return OddTemplate(
        # The last line break of a source is dropped, so it is written by an expression.
        text=SCHEMAS + "{% for m in messages %}" + turn + _END + header[:-1] + "{{ '\\n' }}",
        note=note,
        special_tokens=("<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>", "<|end_of_text|>"),
        eos=eos,
        stop_text="<|eot_id|>",
        stop_call="<|eot_id|>",
    )


_COMMAND_TOKENS = (
    "<|START_OF_TURN_TOKEN|>",
    "<|END_OF_TURN_TOKEN|>",
    "<|USER_TOKEN|>",
    "<|CHATBOT_TOKEN|>",
    "<|SYSTEM_TOKEN|>",
)
_COMMAND_ROLE = (
    "<|START_OF_TURN_TOKEN|>{% if m.role == 'user' %}<|USER_TOKEN|>{% elif m.role == 'assistant' %}<|CHATBOT_TOKEN|>"
    "{% else %}<|SYSTEM_TOKEN|>{% endif %}"
)
_COMMAND_ASSISTANT = "<|START_OF_TURN_TOKEN|><|CHATBOT_TOKEN|>"


def command(note: str, *, eos: str, body: str = BODY, always: bool = True, more: tuple[str, ...] = ()) -> OddTemplate:
    """Return a template like Command's. It ends with the header of an assistant turn, `always` or if asked for."""
    turn = _COMMAND_ROLE + body + "<|END_OF_TURN_TOKEN|>"
    header = _COMMAND_ASSISTANT if always else asked(_COMMAND_ASSISTANT)
    return OddTemplate(
        text=SCHEMAS + "{% for m in messages %}" + turn + _END + header,
        note=note,
        special_tokens=(*_COMMAND_TOKENS, *more),
        eos=eos,
        stop_text="<|END_OF_TURN_TOKEN|>",
        stop_call="<|END_OF_TURN_TOKEN|>",
    )


def thinking(opening: str, closing: str, **others: Any) -> OddTemplate:
    """Return a template that always opens thinking in its generation prompt."""
    written = "{% if m.reasoning_content %}" + opening + "{{ m.reasoning_content }}" + closing + "{% endif %}"
    refused = refused_for("continuation")
    del refused["reasoning"]  # every trained turn of this conversation has reasoning
    return chatml(
        f"opens {opening} in the generation prompt, but writes it before an answer only if there is reasoning",
        body=written + "{{ m.content }}" + CALLS,
        header=IM_ASSISTANT + opening,
        refused=refused,
        **others,
    )


RAISE = "{{ raise_exception('not like this') }}"
NOW = "{{ strftime_now('%d %b %Y') }}"
PARTS = "{% for p in m.content %}{{ p.text }}{% endfor %}"
TEXT_OR_PARTS = "{% if m.content is string %}{{ m.content }}{% else %}" + PARTS + "{% endif %}"
WRAPPED = (
    "{% if m.role != 'assistant' %}{{ m.content }}{% else %}" + REASONING
    + "{% if m.content %}<|START_RESPONSE|>{{ m.content }}<|END_RESPONSE|>{% endif %}"
    "{% if m.tool_calls %}<|START_ACTION|>" + CALLS + "<|END_ACTION|>{% endif %}{% endif %}"
)  # fmt: skip
_LAST_USER = (
    "{% set ns = namespace(last=0) %}"
    "{% for m in messages %}{% if m.role == 'user' %}{% set ns.last = loop.index0 %}{% endif %}{% endfor %}"
)
MISTRAL = (
    _LAST_USER + "{% for m in messages %}{% if m.role == 'user' %}[INST]"
    "{% if loop.index0 == ns.last %}" + SCHEMAS + "{% for s in messages if s.role == 'system' %}"
    "{{ s.content }}\n\n{% endfor %}{% endif %}{{ m.content }}[/INST]"
    "{% elif m.role == 'tool' %}[RESULT]{{ m.content }}[/RESULT]"
    "{% elif m.role == 'assistant' %}" + BODY + "</s>{% endif %}{% endfor %}"
)  # fmt: skip
