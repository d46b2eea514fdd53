"""The formats of further families: texts as their templates write them, broken ones, names, and one's own formats."""

import dataclasses
import re
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest
from transformers.tokenization_utils_base import PreTrainedTokenizerBase

from tests.support.family_templates import SAME_TEXT, TEMPLATES
from tests.support.quick import ROOT
from tests.tool_calls.test_detect import from_jinja
from tests.tool_calls.test_fuzz import N_MUTATIONS, check, mutations, seconds
from tests.tool_calls.test_round_trip import tools_for
from trainer.chat import ChatEncoder
from trainer.config import Config
from trainer.data import pick_format
from trainer.errors import FormatError
from trainer.tool_calls import aliases, detect_format, formats, get_format, register_format, registry
from trainer.types import Call

OK, JSON, UNCLOSED, NAME, ARGUMENTS = "ok", "invalid_json", "unclosed", "missing_name", "bad_arguments"
Read = tuple[str, str | None, Mapping[str, object] | None]
F1: Read = (OK, "f", {"a": 1})
G2: Read = (OK, "g", {"b": "x"})
BAD: Read = (ARGUMENTS, "f", None)

WELL_FORMED: list[tuple[str, str, list[Read], str]] = [
    ("kimi_k2", "Sure.<|tool_calls_section_begin|><|tool_call_begin|>functions.f:0<|tool_call_argument_begin|>"
     '{"a": 1}<|tool_call_end|><|tool_call_begin|>functions.g:1<|tool_call_argument_begin|>{"b": "x"}<|tool_call_end|>'
     "<|tool_calls_section_end|>", [F1, G2], "Sure."),
    ("kimi_k2", '<|tool_call_begin|> shop.f:12 <|tool_call_argument_begin|> {} <|tool_call_end|>',
     [(OK, "shop.f", {})], ""),
    ("minimax_m2", '<minimax:tool_call>\n<invoke name="f">\n<parameter name="a">1</parameter>\n</invoke>\n'
     '<invoke name="g">\n<parameter name="b">x</parameter>\n</invoke>\n</minimax:tool_call>Done.', [F1, G2], "Done."),
    ("minimax_m2", "<invoke name='f'><parameter name='a'>1</parameter></invoke>", [F1], ""),
    ("minimax_m2", '<invoke name="f"><parameter name="a"> </b> x\n</parameter></invoke>',
     [(OK, "f", {"a": " </b> x\n"})], ""),
    ("deepseek_v32", 'Sure.\n\n<｜DSML｜function_calls>\n<｜DSML｜invoke name="f">\n'
     '<｜DSML｜parameter name="a" string="false">1</｜DSML｜parameter>\n'
     '<｜DSML｜parameter name="b" string="true">1</｜DSML｜parameter>\n</｜DSML｜invoke>\n'
     "</｜DSML｜function_calls>", [(OK, "f", {"a": 1, "b": "1"})], "Sure."),
    ("deepseek_v4", '<｜DSML｜tool_calls>\n<｜DSML｜invoke name="f">\n'
     '<｜DSML｜parameter name="a">1</｜DSML｜parameter>\n'
     "</｜DSML｜invoke>\n</｜DSML｜tool_calls>", [F1], ""),
    ("seed_oss", "<seed:tool_call>\n<function=f>\n<parameter=a>1</parameter>\n</function>\n</seed:tool_call>",
     [F1], ""),
    ("seed_oss", "<seed:tool_call><function=f><parameter=a>{'k': [True, None]}</parameter></function></seed:tool_call>",
     [(OK, "f", {"a": "{'k': [True, None]}"})], ""),
    ("mimo", "<tool_call>\n<function=f>\n<parameter=a>\n</parameter>\n</function>\n</tool_call>",
     [(OK, "f", {"a": "\n"})], ""),
    ("step3", '<｜tool_calls_begin｜><｜tool_call_begin｜>function<｜tool_sep｜><steptml:invoke name="f">'
     '<steptml:parameter name="a">1</steptml:parameter></steptml:invoke><｜tool_call_end｜><｜tool_calls_end｜>',
     [F1], ""),
    ("olmo3", "<function_calls>\nf(a=1)\ng(b='x')\n</function_calls>", [F1, G2], ""),
    ("olmo3", '<function_calls>f(a=true, b=null, c="</function_calls>")</function_calls> ok',
     [(OK, "f", {"a": True, "b": None, "c": "</function_calls>"})], "ok"),
    ("hunyuan_a13b", '<tool_calls>[{"name": "f", "arguments": {"a": 1}}, {"name": "g", "arguments": {"b": "x"}}]'
     "</tool_calls>", [F1, G2], ""),
    ("jamba", '<tool_calls>[\n    {"name": "f", "arguments": {"a": 1}}\n]</tool_calls>', [F1], ""),
    ("internlm", 'Sure.<|action_start|><|plugin|>\n{"name": "f", "parameters": {"a": 1}}<|action_end|>', [F1], "Sure."),
    ("internlm", '<|action_start|><|plugin|>{"name": "f", "arguments": {"a": 1}}\n<|action_end|>', [F1], ""),
    ("longcat", '<longcat_tool_call>\n{"name": "f", "arguments": {"a": 1}}\n</longcat_tool_call>', [F1], ""),
    ("cohere_command", '<|START_ACTION|>[\n    {"tool_call_id": "0", "tool_name": "f", "parameters": {"a": 1}},\n'
     '    {"tool_call_id": "1", "tool_name": "g", "parameters": {"b": "x"}}\n]<|END_ACTION|>', [F1, G2], ""),
    ("cohere_command", "<|START_RESPONSE|>Hello!<|END_RESPONSE|>", [], "Hello!"),
    ("apertus", 'Sure.<|tools_prefix|>[{"f": {"a": 1}}, {"g": {"b": "x"}}]<|tools_suffix|>', [F1, G2], "Sure."),
    ("glm47", "<tool_call>f<arg_key>a</arg_key><arg_value>1</arg_value></tool_call><tool_call>g</tool_call>",
     [F1, (OK, "g", {})], ""),
    ("ernie45", "<response>\nHello!\n</response>\n", [], "Hello!"),
]  # fmt: skip

MALFORMED: list[tuple[str, str, list[Read]]] = [
    ("kimi_k2", "<|tool_call_begin|>f<|tool_call_argument_begin|>{}<|tool_call_end|>", [(NAME, None, None)]),
    ("kimi_k2", "<|tool_call_begin|>functions.f:0<|tool_call_argument_begin|>{'a': 1}<|tool_call_end|>", [BAD]),
    ("kimi_k2", '<|tool_call_begin|>functions.f:0<|tool_call_argument_begin|>"{}"<|tool_call_end|>', [BAD]),
    ("kimi_k2", '<|tool_calls_section_begin|><|tool_call_begin|>functions.f:0<|tool_call_argument_begin|>{"a": 1}',
     [(UNCLOSED, None, None)]),
    ("kimi_k2", "<|tool_calls_section_begin|>f()<|tool_calls_section_end|>", [(NAME, None, None)]),
    ("kimi_k2", "Sure.<|tool_calls_section_begin|>\n<|tool_ca", [(UNCLOSED, None, None)]),
    ("minimax_m2", '<invoke name="f"><parameter name="a">1<parameter name="b">x</parameter></invoke>', [BAD]),
    ("minimax_m2", '<invoke name="f"><parameter name="a">1</invoke>', [BAD]),
    ("minimax_m2", '<invoke name="f"><parameter name="a">1</parameter> and </invoke>', [BAD]),
    ("minimax_m2", '<invoke name="f"><parameter name="a">1</parameter><parameter name="a">2</parameter></invoke>',
     [BAD]),
    ("minimax_m2", '<invoke name="f"><parameter name="a"> </b> </parameter> x</parameter></invoke>', [BAD]),
    ("minimax_m2", '<parameter name="a">1</parameter></invoke>', [(NAME, None, None)]),
    ("minimax_m2", '<invoke name=""><parameter name="a">1</parameter></invoke>', [(NAME, None, None)]),
    ("minimax_m2", '<invoke tool="f"></invoke>', [(NAME, None, None)]),
    ("minimax_m2", '<minimax:tool_call><invoke name="f"><parameter name="a">1</parameter></minimax:tool_call>',
     [(UNCLOSED, None, None)]),
    ("minimax_m2", '<invoke name="f"><parameter name="a"><invoke name="g"><parameter name="b">x</parameter></invoke>',
     [(UNCLOSED, None, None), G2]),
    ("deepseek_v32", '<｜DSML｜invoke name="f"><｜DSML｜parameter name="a" string="false">x</｜DSML｜parameter>'
     "</｜DSML｜invoke>", [BAD]),
    ("deepseek_v32", '<｜DSML｜invoke name="f"><｜DSML｜parameter name="a" string="true">1\n'
     '<｜DSML｜parameter name="b" string="true">x</｜DSML｜parameter></｜DSML｜invoke>', [BAD]),
    ("deepseek_v4", "<｜DSML｜tool_calls>{}</｜DSML｜tool_calls>", [(NAME, None, None)]),
    ("seed_oss", "<seed:tool_call><function=f><parameter=a>1\n<parameter=b>x</parameter></function></seed:tool_call>",
     [BAD]),
    ("seed_oss", "<seed:tool_call><function=f><parameter=a>1</parameter></function>", [(UNCLOSED, None, None)]),
    ("step3", '<｜tool_call_begin｜>function<｜tool_sep｜><steptml:invoke name="f"><steptml:parameter name="a">1'
     "</steptml:invoke><｜tool_call_end｜>", [BAD]),
    ("step3", "<｜tool_call_begin｜>function<｜tool_sep｜>f{}<｜tool_call_end｜>", [(NAME, None, None)]),
    ("olmo3", "<function_calls>f(a=1)\ng(1)</function_calls>", [F1, (ARGUMENTS, "g", None)]),
    ("olmo3", "<function_calls>f(a=1)\ng(b=", [F1, (UNCLOSED, None, None)]),
    ("olmo3", "<function_calls>f(a=1)", [(UNCLOSED, None, None)]),
    ("olmo3", "<function_calls>", [(UNCLOSED, None, None)]),
    ("olmo3", "<function_calls>\n</function_calls>", [(NAME, None, None)]),
    ("olmo3", '<function_calls>f(a="x</function_calls> Done.', [(JSON, None, None)]),
    ("hunyuan_a13b", '<tool_calls>[{"name": "f", "arguments": {"a": 1}}', [(UNCLOSED, None, None)]),
    ("hunyuan_a13b", '<tool_calls>{"name": "f", "arguments": {}}</tool_calls>', [(JSON, None, None)]),
    ("internlm", "<|action_start|><|interpreter|>\nprint(1)<|action_end|>", [(JSON, None, None)]),
    ("internlm", '<|action_start|><|plugin|>{"name": "f", "parameters": {"a": 1}}', [(UNCLOSED, None, None)]),
    ("internlm", '<|action_start|><|plugin|>{"name": "f"}<|action_end|>', [BAD]),
    ("cohere_command", '<|START_ACTION|>[{"name": "f", "parameters": {}}]<|END_ACTION|>', [(NAME, None, None)]),
    ("cohere_command", '<|START_ACTION|>[{"tool_name": "f", "parameters": "{}"}]<|END_ACTION|>', [BAD]),
    ("cohere_command", '<|START_ACTION|>[{"tool_name": "f", "parameters": {}}]', [(UNCLOSED, None, None)]),
    ("apertus", '<|tools_prefix|>[{"f": {}, "g": {}}]<|tools_suffix|>', [(NAME, None, None)]),
    ("apertus", '<|tools_prefix|>[{"f": 1}]<|tools_suffix|>', [BAD]),
    ("apertus", '<|tools_prefix|>[{"f": {"a": }}]<|tools_suffix|>', [(JSON, None, None)]),
]  # fmt: skip


def reading(name: str, text: str, *, finished: bool = True) -> tuple[list[Read], str]:
    parsed = get_format(name).parse(text, finished=finished)
    return [(call.status, call.name, call.arguments) for call in parsed.calls], parsed.content


@pytest.mark.parametrize(("name", "text", "calls", "content"), WELL_FORMED)
def test_calls_are_read_as_the_families_write_them(name: str, text: str, calls: list[Read], content: str) -> None:
    assert reading(name, text) == (calls, content)


@pytest.mark.parametrize(("name", "text", "calls"), MALFORMED)
def test_every_broken_attempt_has_its_status(name: str, text: str, calls: list[Read]) -> None:
    assert reading(name, text)[0] == calls
    if calls[-1][0] == UNCLOSED:
        assert reading(name, text, finished=False)[0][-1][0] == "truncated"


GOLD = [Call("f", {"a": "one", "b": [1, "two"], "c": "three\nlines\n"}), Call("g", {"d": {"e": None}})]
ELEMENTS = (
    "qwen3_xml", "mimo", "seed_oss", "glm45", "minimax_m2", "dots", "muse_glimmer", "deepseek_v32", "deepseek_v4",
    "deepseek_v41", "step3",
)  # fmt: skip


@pytest.mark.parametrize("name", ELEMENTS)
def test_without_one_of_its_tags_no_text_becomes_another_value(name: str) -> None:
    """Whatever tag is lost, an attempt that still reads as a call has exactly the arguments that were written."""
    fmt, tools = get_format(name), tools_for(GOLD)
    text = fmt.render(GOLD)
    for tag in re.finditer(r"<[^<>]+>", text):
        parsed = fmt.parse(text[: tag.start()] + text[tag.end() :], tools=tools)
        assert all(call.status != OK or Call(str(call.name), call.arguments or {}) in GOLD for call in parsed.calls)
        assert len(parsed.calls) >= 2 or tag[0] in fmt.wrappers, tag


NEW = (*ELEMENTS, "kimi_k2", "olmo3", "hunyuan_a13b", "internlm", "longcat", "cohere_command", "apertus")


def tags(name: str) -> tuple[str, ...]:
    return tuple(dict.fromkeys(re.findall(r"<[^<>\n]+>", get_format(name).render(GOLD))))


@pytest.mark.parametrize("name", NEW)
def test_the_tags_of_a_family_in_any_place_make_no_inconsistent_attempt(name: str) -> None:
    fmt = get_format(name)
    written = fmt.render(GOLD)
    for text in mutations((written, f"Sure. {written} Done."), (*tags(name), '"', "{", "]", "\n"), N_MUTATIONS // 4):
        check(fmt, text, fmt.parse(text))


@pytest.mark.parametrize("name", NEW)
def test_time_grows_linearly_on_repeated_beginnings(name: str) -> None:
    fmt = get_format(name)
    written = fmt.render(GOLD)
    for tag in tags(name):
        for unit in (tag, f"{tag}[{{", written[: written.index(tag) + len(tag)], written[: written.index(tag)] or " "):
            small, large = (seconds(fmt, unit * (n // len(unit) + 1)) for n in (3_000, 12_000))
            assert large < 8 * small + 0.03, f"{unit!r}: {small:.4f} s, then {large:.4f} s"


@pytest.mark.parametrize(("name", "template"), TEMPLATES.items())
def test_the_format_of_a_family_is_detected(name: str, template: str) -> None:
    assert detect_format(from_jinja(template)).name == SAME_TEXT.get(name, name)


@pytest.mark.parametrize("name", aliases())
def test_an_alias_is_a_format_with_its_own_vllm_parser(name: str) -> None:
    fmt = get_format(name)
    assert (fmt.name, fmt.vllm_parser) == (name, name)
    assert name not in formats()
    parsed = fmt.parse(fmt.render(GOLD), tools=tools_for(GOLD))
    assert [Call(str(call.name), call.arguments or {}) for call in parsed.calls] == GOLD


def test_the_name_of_an_alias_is_taken() -> None:
    with pytest.raises(FormatError, match='"jamba" is already registered'):
        register_format(dataclasses.replace(get_format("hermes"), name="jamba"))
    with pytest.raises(FormatError, match=r"known: hermes, .*, granite4, "):
        get_format("jambo")


FORMATS_PAGE = (ROOT / "docs" / "tool-call-formats.md").read_text(encoding="utf-8")


def test_the_page_lists_every_alias() -> None:
    assert all(re.search(rf"^\|.*`{re.escape(name)}`.*\| `", FORMATS_PAGE, re.MULTILINE) for name in aliases())


@pytest.fixture
def _own_formats(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr("trainer.tool_calls.registry._FORMATS", dict(registry._FORMATS))
    monkeypatch.setattr(sys, "path", list(sys.path))
    yield
    sys.modules.pop("domain_with_format", None)


@pytest.mark.usefixtures("_own_formats")
def test_a_domain_registers_the_format_of_the_page_before_it_is_looked_up(
    tmp_path: Path,
    quick_config: Callable[..., Config],
    tokenizer: PreTrainedTokenizerBase,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    (source,) = re.findall(r"~~~python\n(.*?register_format\(.*?)~~~", FORMATS_PAGE, re.DOTALL)
    (tmp_path / "domain_with_format").mkdir()
    (tmp_path / "domain_with_format" / "__init__.py").write_text(source, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(tokenizer, "chat_template", tokenizer.chat_template)
    cfg = quick_config("data.load_module=domain_with_format", "eval.tool_call_format=at_signs")
    fmt = pick_format(cfg, ChatEncoder(tokenizer))
    assert fmt.name == "at_signs"
    parsed = fmt.parse(f"Sure.\n{fmt.render(GOLD)}")
    assert ([Call(str(call.name), call.arguments or {}) for call in parsed.calls], parsed.content) == (GOLD, "Sure.")
    broken = fmt.parse('@@f {"a": @@ @@g {"b": 1}@@ @@h {"c"')
    assert [call.status for call in broken.calls] == [JSON, OK, UNCLOSED]


@pytest.mark.usefixtures("_own_formats")
def test_without_its_domain_a_format_of_ones_own_is_an_error_with_the_cause(
    tmp_path: Path, quick_config: Callable[..., Config], tokenizer: PreTrainedTokenizerBase
) -> None:
    cfg = quick_config("data.load_module=domain_not_there", "eval.tool_call_format=at_signs")
    with pytest.raises(FormatError, match=r'unknown tool-call format "at_signs".*no package domain_not_there'):
        pick_format(cfg, ChatEncoder(tokenizer))
    cfg = quick_config("data.load_module=domain_not_there", "eval.tool_call_format=auto")
    assert pick_format(cfg, ChatEncoder(tokenizer)).name == "hermes"
