"""Chat templates that are made to be difficult: as small as possible, with one peculiarity each.

`ODD_TEMPLATES` says for each what a person reads in it: which token ends a turn, and which conversations cannot be
trained with it. The conversations are `SAMPLES` of `template_samples` and `ODD_SAMPLES` of this module.

Why a conversation is refused, in a word:
    rejects       the template raises an error
    drops         text of a user or of the assistant is missing in the prompt
    system        a system message is missing
    reasoning     reasoning is missing
    several calls, content with a call, tool results        the feature is missing
    continuation  the rendered turn does not continue its serving prompt
"""

from tests.support.odd_samples import ALL_SAMPLES
from tests.support.odd_template_parts import (
    BODY,
    CALLS,
    IM_TOKENS,
    MISTRAL,
    NOW,
    PARTS,
    RAISE,
    REASONING,
    SCHEMAS,
    TEXT_OR_PARTS,
    WRAPPED,
    OddTemplate,
    asked,
    chatml,
    command,
    llama,
    refused_for,
    thinking,
)

__all__ = ["ODD_TEMPLATES", "OddTemplate"]

WITH_CALLS = tuple(s.session_id for s in ALL_SAMPLES if any(m.get("tool_calls") for m in s.messages))
WITHOUT_TOOLS = tuple(s.session_id for s in ALL_SAMPLES if not s.tools)
WITHOUT_SYSTEM = tuple(s.session_id for s in ALL_SAMPLES if s.messages[0]["role"] != "system")

ODD_TEMPLATES: dict[str, OddTemplate] = {
    # How a turn begins and ends.
    "header_always_llama": llama("writes the assistant header even if nobody asks for it", eos="<|eot_id|>"),
    "header_always_command": command("the same with headers of tokens only", eos="<|END_OF_TURN_TOKEN|>"),
    "header_always_llama_other_eos": llama("the same, and the closing token is not the eos", eos="<|end_of_text|>"),
    "header_always_command_other_eos": command("the same with headers of tokens only", eos="<eos>"),
    "newline_token": chatml("the newline after the closing token is an added token", added_tokens=("\n",)),
    "ends_twice_eos_last": chatml(
        "two tokens end a turn; a server stops at the second one by itself",
        close="<|im_end|>{% if m.role == 'assistant' %}<|endoftext|>{% endif %}{{ '\\n' }}",
        special_tokens=(*IM_TOKENS, "<|endoftext|>"),
        eos="<|endoftext|>",
        stop_text="<|endoftext|>",
        stop_call="<|endoftext|>",
    ),
    "ends_twice_eos_first": chatml(
        "two tokens end a turn; a server stops at the first one by itself",
        close="{% if m.role == 'assistant' %}<|endoftext|>{% endif %}<|im_end|>\n",
        special_tokens=(*IM_TOKENS, "<|endoftext|>"),
        eos="<|endoftext|>",
        stop_text="<|endoftext|>",
        stop_call="<|endoftext|>",
    ),
    "next_role_ends": OddTemplate(
        text=SCHEMAS
        + "{% for m in messages %}<|{{ 'observation' if m.role == 'tool' else m.role }}|>"
        + BODY
        + "{% endfor %}"
        + asked("<|assistant|>"),
        note="no token closes a turn; the token of the next role ends it",
        special_tokens=("<|system|>", "<|user|>", "<|assistant|>", "<|observation|>", "<|endoftext|>"),
        eos="<|endoftext|>",
        stop_text="<|user|>",
        stop_call="<|observation|>",
    ),
    "closing_not_special": chatml(
        "the closing token is added, but not special",
        special_tokens=("<|im_start|>", "<eos>"),
        added_tokens=("<|im_end|>",),
        eos="<eos>",
    ),
    "answers_wrapped": command(
        "special tokens wrap an answer, and another one closes the turn",
        eos="<|END_OF_TURN_TOKEN|>",
        always=False,
        body=WRAPPED,
        more=("<|START_RESPONSE|>", "<|END_RESPONSE|>", "<|START_ACTION|>", "<|END_ACTION|>"),
    ),
    # What a conversation must have.
    "length_of_tools": chatml(
        "takes the length of the tools, which are null if there are none",
        before="{% if tools | length > 0 %}" + SCHEMAS + "{% endif %}{% for m in messages %}",
        refused=refused_for("rejects", *WITHOUT_TOOLS),
    ),
    "first_tool": chatml(
        "names the first tool, which fails if there are none",
        before="{{ tools[0].function.name }}" + SCHEMAS + "{% for m in messages %}",
        refused=refused_for("rejects", *WITHOUT_TOOLS),
    ),
    "system_required": chatml(
        "refuses a conversation without a system message",
        before="{% if messages[0].role != 'system' %}" + RAISE + "{% endif %}" + SCHEMAS + "{% for m in messages %}",
        refused=refused_for("rejects", *WITHOUT_SYSTEM),
    ),
    "first_message_is_system": chatml(
        "takes the first message for the system message, whatever its role",
        before="<|im_start|>system\n{{ messages[0].content }}" + SCHEMAS + "<|im_end|>\n{% for m in messages[1:] %}",
    ),
    "alternating_roles": chatml(
        "refuses two messages of one role in a row",
        before=SCHEMAS
        + "{% for m in messages %}{% if not loop.first and m.role == messages[loop.index0 - 1].role %}"
        + RAISE
        + "{% endif %}",
        refused=refused_for(
            "rejects", "parallel calls", "two system messages", "two users in a row", "results in another order"
        ),
    ),
    "user_first": chatml(
        "refuses a conversation in which the assistant speaks first",
        before="{% if (messages | rejectattr('role', 'equalto', 'system') | list)[0].role == 'assistant' %}"
        + RAISE
        + "{% endif %}"
        + SCHEMAS
        + "{% for m in messages %}",
        refused=refused_for("rejects", "the assistant first"),
    ),
    # Thinking.
    "thinks_think": thinking("<think>", "</think>", added_tokens=("<think>", "</think>")),
    "thinks_mistral": thinking("[THINK]", "[/THINK]", special_tokens=(*IM_TOKENS, "[THINK]", "[/THINK]")),
    "thinks_command": thinking(
        "<|START_THINKING|>",
        "<|END_THINKING|>",
        special_tokens=(*IM_TOKENS, "<|START_THINKING|>", "<|END_THINKING|>"),
    ),
    "thinks_seed": thinking("<seed:think>", "</seed:think>", added_tokens=("<seed:think>", "</seed:think>")),
    "thinks_mm": thinking("<mm:think>", "</mm:think>"),
    "thinks_kimi": thinking("◁think▷", "◁/think▷"),
    "private_reasoning_key": chatml(
        "reads reasoning under a name that no server sends",
        body="{% if m.thinking %}<think>{{ m.thinking }}</think>{% endif %}{{ m.content }}" + CALLS,
        refused=refused_for("reasoning", "reasoning"),
    ),
    # Dates.
    "date_in_default_system": chatml(
        "shows the date only if there is no system message",
        before="{% if messages[0].role != 'system' %}<|im_start|>system\nToday is "
        + NOW
        + "<|im_end|>\n{% endif %}"
        + SCHEMAS
        + "{% for m in messages %}",
    ),
    "date_always": chatml(
        "shows the date, and no argument changes it",
        before="Today is " + NOW + SCHEMAS + "{% for m in messages %}",
    ),
    "date_string_or_now": chatml(
        "shows the date unless an argument sets it",
        before="{% if date_string is not defined %}{% set date_string = strftime_now('%d %b %Y') %}{% endif %}"
        "{{ date_string }}" + SCHEMAS + "{% for m in messages %}",
    ),
    "date_string_set": chatml(
        "the same with the argument",
        before="{% if date_string is not defined %}{% set date_string = strftime_now('%d %b %Y') %}{% endif %}"
        "{{ date_string }}" + SCHEMAS + "{% for m in messages %}",
        kwargs={"date_string": "26 Jul 2024"},
    ),
    "date_string_constant": chatml(
        "shows a date that is always the same",
        before="{% if date_string is not defined %}{% set date_string = '26 Jul 2024' %}{% endif %}{{ date_string }}"
        + SCHEMAS
        + "{% for m in messages %}",
    ),
    # What is dropped.
    "one_system_message": chatml(
        "drops every system message that is not the first message",
        before=SCHEMAS + "{% for m in messages if m.role != 'system' or m == messages[0] %}",
        refused=refused_for("system", "two system messages", "a system message in the middle"),
    ),
    "leading_system_messages": chatml(
        "drops a system message after the first two messages",
        before=SCHEMAS
        + "{% for m in messages[:2] + (messages[2:] | rejectattr('role', 'equalto', 'system') | list) %}",
        refused=refused_for("system", "a system message in the middle"),
    ),
    "calls_without_text": chatml(
        "drops the text beside calls",
        body=REASONING + "{% if not m.tool_calls %}{{ m.content }}{% endif %}" + CALLS,
        refused=refused_for("content with a call", "content with a call"),
    ),
    "one_call": chatml(
        "drops every call of a turn but the first one",
        body=REASONING + "{{ m.content }}" + CALLS.replace("m.tool_calls or []", "(m.tool_calls or [])[:1]"),
        refused=refused_for("several calls", "parallel calls", "results in another order"),
    ),
    # The shape of content and calls.
    "parts_only": chatml(
        "loops over the parts of content; a server sends tool results as text even then",
        body=REASONING + PARTS + CALLS,
        refused=refused_for("tool results", *WITH_CALLS),
    ),
    "text_or_parts": chatml(
        "loops over the parts of content unless it is a text", body=REASONING + TEXT_OR_PARTS + CALLS
    ),
    "parts_in_macro": chatml(
        "loops over the parts of content in a macro",
        before="{% macro show(x) %}"
        + TEXT_OR_PARTS.replace("m.content", "x")
        + "{% endmacro %}"
        + SCHEMAS
        + "{% for m in messages %}",
        body=REASONING + "{{ show(m.content) }}" + CALLS,
    ),
    "parts_of_a_variable": chatml(
        "loops over a variable named content, which a server recognizes by its name",
        body=REASONING + "{% set content = m.content %}" + TEXT_OR_PARTS.replace("m.content", "content") + CALLS,
    ),
    "parts_under_another_name": chatml(
        "loops over a variable that a server does not recognize, so the server must be started with the format",
        body=REASONING + "{% set c = m.content %}" + PARTS.replace("m.content", "c") + CALLS,
        content_format="openai",
        refused=refused_for("tool results", *WITH_CALLS),
    ),
    "function_dumped": chatml(
        "dumps the function of a call, so the order of its keys shows",
        body=REASONING + "{{ m.content }}{% if m.tool_calls %}[CALLS]["
        "{% for c in m.tool_calls %}{{ c.function | tojson }}{{ '' if loop.last else ', ' }}{% endfor %}]{% endif %}",
    ),
    "arguments_as_text": chatml(
        "takes the arguments for a text, but a server sends an object",
        body=REASONING + "{{ m.content }}{% for c in m.tool_calls or [] %}"
        "<call>{{ c.function.name }} {{ '' + c.function.arguments }}</call>{% endfor %}",
        refused=refused_for("rejects", *WITH_CALLS),
    ),
    "system_in_last_user": OddTemplate(
        text=MISTRAL,
        note="writes system message and tools into the last user turn, so earlier turns change",
        special_tokens=("[INST]", "[/INST]", "[RESULT]", "[/RESULT]", "</s>"),
        eos="</s>",
        stop_text="</s>",
        stop_call="</s>",
    ),
}
