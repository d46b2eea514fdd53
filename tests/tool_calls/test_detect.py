"""The format of a chat template is detected from what it writes for known calls."""

import dataclasses
import json
from collections.abc import Sequence
from pathlib import Path

import pytest
import trl
from jinja2.sandbox import ImmutableSandboxedEnvironment

from trainer.errors import FormatError
from trainer.tool_calls import detect_format, formats, get_format, register_format, registry
from trainer.tool_calls.detect import Render
from trainer.types import Message, Tool

TRL_TEMPLATES = Path(trl.__file__).parent / "chat_templates"

HEADER = "{% for m in messages %}<|{{ m.role }}|>{{ m.content or '' }}"
FOOTER = "<|end|>{% endfor %}"


def from_jinja(template: str) -> Render:
    """Return a function that renders as `transformers` does, in everything that these templates need."""

    def refuse(message: str) -> None:
        raise ValueError(message)

    environment = ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=["jinja2.ext.loopcontrols"]
    )
    environment.filters["tojson"] = lambda value, **_: json.dumps(value, ensure_ascii=False)
    environment.globals["raise_exception"] = refuse
    environment.globals["strftime_now"] = lambda form: "today"
    compiled = environment.from_string(template)

    def render(messages: Sequence[Message], tools: Sequence[Tool]) -> str:
        return compiled.render(messages=messages, tools=tools, bos_token="<s>", eos_token="</s>")

    return render


def loop(before: str, each: str, between: str, after: str) -> str:
    """Return a template that writes calls between the given texts. `c` is the function of a call."""
    return (
        HEADER + "{% if m.tool_calls %}" + before + "{% for t in m.tool_calls %}{% set c = t.function %}" + each
        + "{% if not loop.last %}" + between + "{% endif %}{% endfor %}" + after + "{% endif %}" + FOOTER
    )  # fmt: skip


JSON_CALL = '{"name": "{{ c.name }}", "arguments": {{ c.arguments | tojson }}}'
TEMPLATES = {
    "hermes": loop("", "<tool_call>\n" + JSON_CALL + "\n</tool_call>", "\n", ""),
    "xlam": loop("[", JSON_CALL, ", ", "]"),
    "phi4_mini_json": loop("functools[", JSON_CALL, ", ", "]"),
    "granite": loop("<|tool_call|>[", JSON_CALL, ", ", "]"),
    "mistral": loop("[TOOL_CALLS] [", JSON_CALL[:-1] + ', "id": "{{ t.id }}"}', ", ", "]"),
    "mistral_v11": loop("", "[TOOL_CALLS]{{ c.name }}[ARGS]{{ c.arguments | tojson }}", "", ""),
    "llama3_json": loop("", JSON_CALL.replace("arguments\": ", "parameters\": "), "; ", ""),
    "deepseek_v31": loop(
        "<｜tool▁calls▁begin｜>",
        "<｜tool▁call▁begin｜>{{ c.name }}<｜tool▁sep｜>{{ c.arguments }}<｜tool▁call▁end｜>",
        "", "<｜tool▁calls▁end｜>"
    ),
    "pythonic": loop(
        "[",
        "{{ c.name }}({% for k, v in c.arguments.items() %}{{ k }}={{ v | tojson }}, {% endfor %})", ", ", "]"
    ),
    "functiongemma": loop(
        "",
        "<start_function_call>call:{{ c.name }}{ "
        "{% for k, v in c.arguments.items() %}{{ k }}:<escape>{{ v }}<escape>{% if not loop.last %},{% endif %}"
        "{% endfor %}}<end_function_call>", "", ""
    ),
}  # fmt: skip
"""Templates like those of the model families. The last one writes every value as a string."""

TRL_FORMATS = {
    "deepseekv3": "deepseek_v3", "diffusion_gemma": "gemma4", "gemma4": "gemma4", "gemma4_v2": "gemma4",
    "gemma4_v5": "gemma4", "glm4moe": "glm45", "gptoss": "openai", "lfm2_v2": "lfm2",
    "llama3_1": "llama3_json", "llama3_2": "llama3_json", "muse_glimmer": "muse_glimmer",
    "nemotron_3_nano": "qwen3_xml", "qwen2_5": "hermes", "qwen3": "hermes", "qwen3_5_nothink": "qwen3_xml",
    "qwen3_6": "qwen3_xml", "qwen3_instruct_2507": "hermes", "qwen3_vl": "hermes",
}  # fmt: skip


@pytest.mark.parametrize(("name", "template"), TEMPLATES.items())
def test_the_format_of_a_template_is_detected(name: str, template: str) -> None:
    assert detect_format(from_jinja(template)).name == name


@pytest.mark.parametrize(("template", "name"), TRL_FORMATS.items())
def test_the_formats_of_original_templates_are_detected(template: str, name: str) -> None:
    source = (TRL_TEMPLATES / f"{template}.jinja").read_text(encoding="utf-8")
    assert detect_format(from_jinja(source)).name == name


@pytest.mark.parametrize("template", ["phi3", "gemma", "qwen2_5_vl", "llama3"])
def test_a_template_without_tool_calls_is_refused(template: str) -> None:
    source = (TRL_TEMPLATES / f"{template}.jinja").read_text(encoding="utf-8")
    with pytest.raises(FormatError, match=r"writes nothing for a call; .*model\.chat_template_path"):
        detect_format(from_jinja(source))


def test_a_template_in_an_unknown_format_is_refused_with_its_text() -> None:
    with pytest.raises(FormatError, match=r"no format reads '@@probe_search.*hermes, qwen3_xml"):
        detect_format(from_jinja(loop("", "@@{{ c.name }}|{{ c.arguments | tojson }}@@", "", "")))


@pytest.mark.parametrize(
    ("template", "left"),
    [
        (loop("<my_calls>", "<tool_call>\n" + JSON_CALL + "\n</tool_call>", "\n", "</my_calls>"), "<my_calls>"),
        (loop("CALLS: ", "<tool_call>\n" + JSON_CALL + "\n</tool_call>", "\n", ""), "CALLS:"),
        (loop("<list>[", JSON_CALL, ", ", "]</list>"), "<list>"),
        (loop("", "<function={{ c.name }}>{% for k, v in c.arguments.items() %}<parameter={{ k }}>"
         "{{ v if v is string else v | tojson }}</parameter>{% endfor %}</function><end/>", "", ""), "<end/>"),
    ],
)  # fmt: skip
def test_text_that_no_call_and_no_marker_explains_is_named(template: str, left: str) -> None:
    with pytest.raises(FormatError, match=r"but does not explain '.*") as error:
        detect_format(from_jinja(template))
    assert left in str(error.value)


def test_a_template_that_raises_is_refused_with_its_error() -> None:
    with pytest.raises(FormatError, match=r"ValueError: no tools here"):
        detect_format(from_jinja("{{ raise_exception('no tools here') }}"))


def test_two_formats_that_match_equally_well_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    names = {"hermes": get_format("hermes"), "twin": get_format("hermes")}
    monkeypatch.setattr("trainer.tool_calls.detect.formats", lambda: tuple(names))
    monkeypatch.setattr("trainer.tool_calls.detect.get_format", names.__getitem__)
    with pytest.raises(FormatError, match="match several formats: hermes, hermes"):
        detect_format(from_jinja(TEMPLATES["hermes"]))


def test_a_format_of_ones_own_is_known_once_it_is_registered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("trainer.tool_calls.registry._FORMATS", dict(registry._FORMATS))
    own = dataclasses.replace(get_format("hermes"), name="made_up")
    register_format(own)
    assert get_format("made_up") is own
    assert "made_up" in formats()
    with pytest.raises(FormatError, match='"made_up" is already registered; give yours another name'):
        register_format(own)
    with pytest.raises(FormatError, match="several formats: hermes, made_up"):
        detect_format(from_jinja(TEMPLATES["hermes"]))
