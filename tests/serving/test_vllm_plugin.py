"""The plugin gives an application in vLLM the calls that evaluation finds, whole and streamed, and all of the prose."""

import runpy
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
from pydantic import BaseModel

from tests.tool_calls.test_fuzz import CALLS, FRAGMENTS, PROSE, mutations
from trainer.endpoint.answer import Answer, parse_calls
from trainer.errors import FormatError
from trainer.scoring.predictions import make_prediction
from trainer.server_eval.readings import read_twice
from trainer.serving.vllm_parser.plugin import FormatParser, register_parser
from trainer.serving.vllm_parser.plugin_file import plugin_source
from trainer.tool_calls import ToolCallFormat, formats, get_format, registry
from trainer.types import EvalTurn
from trainer.vllm_flags import parser_name

N_TEXTS = 8


class Function(BaseModel):
    name: str
    arguments: str


class Entry(BaseModel):
    """One call, whole or in a stream."""

    id: str
    type: str
    function: Function
    index: int | None = None


class DeltaMessage(BaseModel):
    content: str | None = None
    tool_calls: list[Entry] = []


class ExtractedToolCallInformation(BaseModel):
    tools_called: bool
    tool_calls: list[Entry]
    content: str | None = None


class ToolParser:
    """As much of vLLM's base class as the plugin uses."""

    supports_required_and_named = True

    def __init__(self, tokenizer: object, tools: list[Any] | None = None) -> None:
        self.tools = tools or []

    def adjust_request(self, request: Any) -> Any:
        request.constrained = self.supports_required_and_named and request.tool_choice not in ("auto", "none")
        return request


@pytest.fixture
def registered(monkeypatch: pytest.MonkeyPatch) -> dict[str, type[Any]]:
    """Return what the plugin registers with a stand-in for vLLM."""
    found: dict[str, type[Any]] = {}
    module: Any = ModuleType("vllm.tool_parsers.abstract_tool_parser")
    module.ToolParser, module.DeltaMessage = ToolParser, DeltaMessage
    module.ExtractedToolCallInformation = ExtractedToolCallInformation
    module.ToolParserManager = SimpleNamespace(
        register_module=lambda name, force, module: found.__setitem__(name, module)
    )
    for name in ("vllm", "vllm.tool_parsers"):
        monkeypatch.setitem(sys.modules, name, ModuleType(name))
    monkeypatch.setitem(sys.modules, module.__name__, module)
    return found


def parser(registered: dict[str, type[Any]], name: str) -> Any:
    if name not in registered:
        register_parser(name, name)
    return registered[name](None)


def request(tool_choice: Any = "auto") -> Any:
    return SimpleNamespace(tool_choice=tool_choice, tools=["t"], skip_special_tokens=True)


def streamed(found: Any, text: str, size: int, asked: Any) -> Answer:
    """Return the answer as a client adds it up."""
    parts = [text[start : start + size] for start in range(0, len(text), size)]
    deltas = [found.extract_tool_calls_streaming("", "", part, [], [], [], asked) for part in parts]
    deltas = [delta for delta in (*deltas, found.finish_streaming()) if delta is not None]
    entries = [entry.model_dump(exclude={"index"}) for delta in deltas for entry in delta.tool_calls]
    return Answer("".join(delta.content or "" for delta in deltas), entries or None, "stop")


def whole(found: Any, text: str, asked: Any) -> Answer:
    result = found.extract_tool_calls(text, asked)
    assert result.tools_called == bool(result.tool_calls)
    return Answer(result.content or "", [entry.model_dump() for entry in result.tool_calls] or None, "stop")


def answers(registered: dict[str, type[Any]], name: str, text: str) -> Iterator[Answer]:
    yield whole(parser(registered, name), text, request())
    for size in (1, 3, 7):
        yield streamed(parser(registered, name), text, size, request())


@pytest.mark.parametrize("name", formats())
def test_a_client_reads_what_evaluation_reads(registered: dict[str, type[Any]], name: str) -> None:
    fmt = get_format(name)
    written = fmt.render(CALLS)
    seeds = (written, f"Sure.\n{written}", fmt.render(CALLS[:1]), *PROSE)
    turn = EvalTurn("s", 1, (), (), "", CALLS)
    for text in (*seeds, *mutations(seeds, FRAGMENTS, N_TEXTS)):
        wanted = make_prediction(turn, text, fmt=fmt, finish_reason="stop")
        for answer in answers(registered, name, text):
            assert answer.content == wanted.content or "</think>" in text, text
            strict, lenient = read_twice(turn, answer, fmt)
            for reading in (strict, lenient):
                found = [(call.name, call.arguments) for call in reading.calls]
                assert found == [(call.name, call.arguments) for call in wanted.calls], text


def test_a_failed_attempt_is_a_call_that_no_application_can_decode(registered: dict[str, type[Any]]) -> None:
    text = '{"name": "find_car", "parameters": "red"}'
    for answer in answers(registered, "llama3_json", text):
        assert answer.content == ""
        _, (call,) = parse_calls(answer.tool_calls, finish_reason="stop")
        assert (call.name, call.status) == ("find_car", "bad_arguments")


def test_an_answer_without_a_call_is_its_prose(registered: dict[str, type[Any]]) -> None:
    for answer in answers(registered, "hermes", "<think>why</think>\n\nHello.\n"):
        assert answer == Answer("Hello.", None, "stop")


def test_prose_that_looks_like_a_call_without_its_wrappers_is_left_as_written(
    registered: dict[str, type[Any]],
) -> None:
    text = "<｜too<｜tool▁calls▁begin｜>l▁call▁begin｜>function<｜tool▁sep｜>f\n```json\n{}\n```<｜tool▁call▁end｜>"
    fmt = get_format("deepseek_v3")
    assert not fmt.parse(text).calls
    assert fmt.parse(fmt.parse(text).content).calls
    for answer in answers(registered, "deepseek_v3", text):
        strict, lenient = read_twice(EvalTurn("s", 1, (), (), "", ()), answer, fmt)
        assert strict.calls == lenient.calls == ()


def test_without_choice_of_a_tool_the_text_is_left_alone(registered: dict[str, type[Any]]) -> None:
    text = get_format("hermes").render(CALLS)
    asked = request("none")
    assert whole(parser(registered, "hermes"), text, asked) == Answer(text, None, "stop")
    assert streamed(parser(registered, "hermes"), text, 3, asked) == Answer(text, None, "stop")
    assert parser(registered, "hermes").adjust_request(asked).skip_special_tokens


@pytest.mark.parametrize(
    ("choice", "text", "calls"),
    [
        ("required", '[{"name": "f", "parameters": {"a": 1}}, {"name": "g"}]', [("f", '{"a": 1}'), ("g", "{}")]),
        ("required", '[{"name": "f", "para', [("", '[{"name": "f", "para')]),
        ("required", "", []),
        (SimpleNamespace(function=SimpleNamespace(name="f")), '{"a": 1}', [("f", '{"a": 1}')]),
        (SimpleNamespace(name="f"), '{"a": ', [("f", '{"a": ')]),
    ],
)
def test_a_forced_call_is_constrained_and_read_as_json(
    registered: dict[str, type[Any]], choice: Any, text: str, calls: list[tuple[str, str]]
) -> None:
    asked = parser(registered, "hermes").adjust_request(request(choice))
    assert asked.constrained
    assert not asked.skip_special_tokens
    for answer in (
        whole(parser(registered, "hermes"), text, asked),
        streamed(parser(registered, "hermes"), text, 3, asked),
    ):
        assert answer.content == ""
        found = [(entry["function"]["name"], entry["function"]["arguments"]) for entry in answer.tool_calls or ()]
        assert found == calls


def test_ids_are_such_as_every_template_accepts(registered: dict[str, type[Any]]) -> None:
    answer = whole(parser(registered, "hermes"), get_format("hermes").render(CALLS), request())
    ids = [entry["id"] for entry in answer.tool_calls]
    assert all(len(call_id) == 9 and call_id.isalnum() for call_id in ids)
    assert len(set(ids)) == len(CALLS)


def test_the_written_file_registers_the_format(registered: dict[str, type[Any]], tmp_path: Path) -> None:
    path = tmp_path / "tool_sft_parser.py"
    path.write_text(plugin_source(get_format("glm45")))
    runpy.run_path(str(path))
    assert registered[parser_name("glm45")].fmt is get_format("glm45")
    assert issubclass(registered["tool_sft_glm45"], FormatParser)


OWN = """
from trainer.tool_calls import ToolCallFormat, get_format, register_format

PLAIN = get_format("hermes")
MINE = ToolCallFormat("mine", None, PLAIN.scan, PLAIN.write)
register_format(MINE)
"""
CHILD = """
import sys
from types import ModuleType, SimpleNamespace

name = "vllm.tool_parsers.abstract_tool_parser"
for part in ("vllm", "vllm.tool_parsers", name):
    sys.modules[part] = ModuleType(part)
sys.modules[name].ToolParser = object
sys.modules[name].ToolParserManager = SimpleNamespace(
    register_module=lambda name, force, module: print(name, module.fmt.parse("<tool_call>").calls[0].status)
)
import runpy
runpy.run_path(sys.argv[1])
"""


@pytest.mark.parametrize("around", ["import no_such_package_in_vllm\n", ""])
def test_a_format_of_a_domain_package_is_found_in_another_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, around: str
) -> None:
    package = tmp_path / "domains" / "my_shop"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text("")
    (package / "wire.py").write_text(OWN)
    monkeypatch.syspath_prepend(package.parent)
    monkeypatch.setattr(registry, "_FORMATS", dict(registry._FORMATS))
    __import__("my_shop.wire")
    (package / "__init__.py").write_text(around)
    path = tmp_path / "plugin.py"
    path.write_text(plugin_source(get_format("mine")))
    for name in ("my_shop", "my_shop.wire"):
        sys.modules.pop(name)
    done = subprocess.run(
        [sys.executable, "-c", CHILD, str(path)], cwd=tmp_path, check=False, capture_output=True, text=True
    )
    assert done.stdout.split() == ["tool_sft_mine", "unclosed"], done.stderr


def test_a_format_that_no_module_has_is_refused() -> None:
    plain = get_format("hermes")
    with pytest.raises(FormatError, match="make it a variable of a module"):
        plugin_source(ToolCallFormat("nowhere", None, plain.scan, plain.write))
