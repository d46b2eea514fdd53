"""A call in `message.tool_calls` can be decoded exactly if the attempt was well formed."""

import json

import pytest

from tests.tool_calls.test_fuzz import CALLS, FRAGMENTS, mutations
from trainer.endpoint.answer import parse_calls
from trainer.tool_calls import aliases, formats, get_format
from trainer.tool_calls.served import served_call
from trainer.tool_calls.vllm_losses import known_loss, loss_table
from trainer.types import ParsedCall


def read_back(call: ParsedCall) -> ParsedCall:
    name, arguments = served_call(call)
    entry = {"id": "a", "type": "function", "function": {"name": name, "arguments": arguments}}
    _, (found,) = parse_calls(json.loads(json.dumps([entry])), finish_reason="stop")
    return found


@pytest.mark.parametrize("name", formats())
def test_every_attempt_keeps_its_judgment(name: str) -> None:
    fmt = get_format(name)
    for text in mutations((fmt.render(CALLS),), FRAGMENTS, 100):
        for call in fmt.parse(text).calls:
            found = read_back(call)
            assert (found.status == "ok") == (call.status == "ok"), text
            name_sent = call.name and call.name.encode("utf-8", "replace").decode().replace("?", "\ufffd")
            assert found.name == name_sent or "?" in (call.name or ""), text
            assert found.arguments == call.arguments, text


@pytest.mark.parametrize(
    "raw", ['{"a": 1}', ' {"a": NaN}\n', '{"a": "line\nbreak"}', '{"a": 1, "a": 2}', '{"a": ', "[1]", '"a"']
)
def test_the_text_of_a_failed_attempt_is_no_object(raw: str) -> None:
    name, arguments = served_call(ParsedCall("bad_arguments", raw, 0, len(raw), name="f"))
    assert name == "f"
    try:
        assert not isinstance(json.loads(arguments, strict=False), dict)
    except ValueError:
        assert arguments == raw


def test_half_a_character_can_be_sent() -> None:
    call = ParsedCall("ok", "…", 0, 1, "f\ud800", {"a": "\ud83d", "b": "é"})
    name, arguments = served_call(call)
    (name + arguments).encode()
    assert json.loads(arguments) == call.arguments
    assert "é" in arguments


def test_a_warning_names_the_parser_and_the_table() -> None:
    known = {name: known_loss(get_format(name)) for name in (*formats(), *aliases())}
    assert set(loss_table()["formats"]) == {name for name, said in known.items() if said}
    assert "hermes" in (known["hermes"] or "")
    assert "docs/vllm-parsers.md" in (known["hermes"] or "")
    assert known["qwen3_xml"] is None
