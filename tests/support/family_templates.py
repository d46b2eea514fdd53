"""Chat templates that write calls as the families do, without the rest of their templates."""

CALLS = "{% for t in m.tool_calls %}{% set c = t.function %}"
JSON = "{{ c.arguments | tojson }}"
ITEMS = "{% for k, v in c.arguments.items() %}"
VALUE = "{% if v is string %}{{ v }}{% else %}{{ v | tojson }}{% endif %}"
PYTHON_VALUE = "{{ v if v is string else v | string }}"
KIND = "{{ 'true' if v is string else 'false' }}"


def chat(calls: str, *, text: str = "{{ m.content }}", before: str = "", after: str = "<|end|>") -> str:
    """Return a template whose turns with tool calls are `calls`, and whose other turns are `text`."""
    return (
        "{% for m in messages %}<|{{ m.role }}|>{% if m.tool_calls %}" + before + "{{ m.content or '' }}" + calls
        + "{% else %}" + text + "{% endif %}" + after + "{% endfor %}"
    )  # fmt: skip


def invoke(mark: str, block: str, attribute: str = "") -> str:
    """Return the calls of a family that writes `<invoke name=…>`, with `mark` in front of the element names."""
    return (
        f"\n<{block}>\n" + CALLS + f'<{mark}invoke name="{{{{ c.name }}}}">\n' + ITEMS
        + f'<{mark}parameter name="{{{{ k }}}}"{attribute}>' + VALUE + f"</{mark}parameter>\n" + "{% endfor %}"
        + f"</{mark}invoke>\n" + "{% endfor %}" + f"</{block}>"
    )  # fmt: skip


def functions(tag: str, value: str) -> str:
    """Return the calls of a family that writes `<function=f>` between tags, with the values next to their tags."""
    return (
        CALLS + f"\n<{tag}>\n<function={{{{ c.name }}}}>\n" + ITEMS + "<parameter={{ k }}>" + value
        + "</parameter>\n{% endfor %}</function>\n" + f"</{tag}>" + "{% endfor %}"
    )  # fmt: skip


LISTED = (
    "{% for t in m.tool_calls %}{% set c = t.function %}{ITEM}{% if not loop.last %}{BETWEEN}{% endif %}{% endfor %}"
)


def listed(item: str, between: str = ", ") -> str:
    """Return calls with `between` between them."""
    return LISTED.replace("{ITEM}", item).replace("{BETWEEN}", between)


NAMED = '{"name": "{{ c.name }}", "arguments": ' + JSON + "}"
ARGUMENTS = ITEMS + "{{ k }}={{ v | tojson }}{% if not loop.last %}, {% endif %}{% endfor %}"
COHERE_ITEM = '{"tool_call_id": "{{ loop.index0 }}", "tool_name": "{{ c.name }}", "parameters": ' + JSON + "}"

TEMPLATES = {
    "kimi_k2": chat(
        "<|tool_calls_section_begin|>" + CALLS + "<|tool_call_begin|>functions.{{ c.name }}:{{ loop.index0 }}"
        "<|tool_call_argument_begin|>" + JSON + "<|tool_call_end|>{% endfor %}<|tool_calls_section_end|>"
    ),
    "minimax_m2": chat(invoke("", "minimax:tool_call")),
    "dots": chat(invoke("", "dots_function_call")),
    "deepseek_v32": chat(invoke("｜DSML｜", "｜DSML｜function_calls", f' string="{KIND}"')),
    "deepseek_v4": chat(invoke("｜DSML｜", "｜DSML｜tool_calls", f' string="{KIND}"')),
    "deepseek_v41": chat(invoke("｜DSML｜ ", "｜DSML｜ calls", f' string="{KIND}"')),
    "seed_oss": chat(functions("seed:tool_call", PYTHON_VALUE), after="<seed:eos>"),
    "qwen3_xml": chat(functions("tool_call", VALUE)),  # MiMo
    "step3": chat(
        "<｜tool_calls_begin｜>" + CALLS + "<｜tool_call_begin｜>function<｜tool_sep｜>"
        '<steptml:invoke name="{{ c.name }}">'
        + ITEMS + '<steptml:parameter name="{{ k }}">' + VALUE + "</steptml:parameter>{% endfor %}</steptml:invoke>"
        "<｜tool_call_end｜>{% endfor %}<｜tool_calls_end｜>"
    ),
    "olmo3": chat("<function_calls>\n" + listed("{{ c.name }}(" + ARGUMENTS + ")", "\n") + "\n</function_calls>"),
    "hunyuan_a13b": chat("<tool_calls>[" + listed(NAMED) + "]</tool_calls>", text="助手：{{ m.content }}"),
    "jamba": chat("<tool_calls>[\n    " + listed(NAMED, ",\n    ") + "\n]</tool_calls>"),
    "internlm": chat(CALLS + "<|action_start|><|plugin|>\n" + NAMED + "<|action_end|>{% endfor %}"),
    "longcat": chat(CALLS + "<longcat_tool_call>\n" + NAMED + "\n</longcat_tool_call>{% endfor %}"),
    "cohere_command": chat(
        "<|START_ACTION|>[\n    " + listed(COHERE_ITEM, ",\n    ") + "\n]<|END_ACTION|>",
        text="<|START_RESPONSE|>{{ m.content }}<|END_RESPONSE|>",
    ),
    "apertus": chat("<|tools_prefix|>[" + listed('{"{{ c.name }}": ' + JSON + "}") + "]<|tools_suffix|>"),
    "glm47": chat(
        CALLS + "<tool_call>{{ c.name }}" + ITEMS + "<arg_key>{{ k }}</arg_key><arg_value>" + VALUE
        + "</arg_value>{% endfor %}</tool_call>{% endfor %}"
    ),
    "ernie45": chat(
        CALLS + "\n<tool_call>\n" + NAMED + "\n</tool_call>\n{% endfor %}",
        text="<response>\n{{ m.content }}\n</response>\n",
    ),
    "granite4": chat(listed("<tool_call>\n" + NAMED + "\n</tool_call>", "\n")),
}  # fmt: skip
"""By the name of the format, or of the alias whose family writes this."""

SAME_TEXT = {"jamba": "hunyuan_a13b", "glm47": "glm45", "ernie45": "hermes", "granite4": "hermes"}
"""What detection finds for the families with an alias."""
