"""The text of a conversation never comes from an earlier conversation, although JSON is remembered."""

from copy import deepcopy
from typing import Any

import pytest
from template_samples import SAMPLES

from tests.support.slow_reference import Server
from tests.support.template_cases import case_of, encoder_of
from trainer.chat import canonical_messages
from trainer.types import Session
from trainer.util.clock import session_day

NAMES = ("qwen2_5", "own", "function_dumped", "llama3_1")


def changeable() -> tuple[list[Any], list[Any]]:
    """Return messages and tools of a conversation with a call, whose objects a test may change."""
    session = next(session for session in SAMPLES if session.session_id == "call, result, answer")
    return list(canonical_messages(session.messages)), deepcopy(list(session.tools))


def change_tool(messages: list[Any], tools: list[Any]) -> None:
    tools[0]["function"]["parameters"]["properties"]["brand"]["description"] = "changed"


def change_argument(messages: list[Any], tools: list[Any]) -> None:
    messages[1]["tool_calls"][0]["function"]["arguments"]["brand"] = "changed"


@pytest.mark.parametrize("change", [change_tool, change_argument])
@pytest.mark.parametrize("name", NAMES)
def test_a_change_between_two_calls_shows_in_the_text(name: str, change: Any) -> None:
    encoder, case = encoder_of(name, "byte_level"), case_of(name, "byte_level")
    messages, tools = changeable()
    server = Server(case.tokenizer, case.manual, session_day("s"), encoder.content_format)

    def texts() -> tuple[str, str, str]:
        (row,) = encoder.encode(messages, tools, session_id="s").rows
        (batched,) = encoder.encode_batch([Session("s", tuple(messages), tuple(tools))])
        assert batched.rows == (row,)  # type: ignore[union-attr]
        prompt = encoder.prompt_ids(messages[:3], tools, day=session_day("s"))
        rendered = encoder.render(messages[:3], tools, add_generation_prompt=True, day=session_day("s"))
        return encoder.decode(row.input_ids), encoder.decode(prompt), rendered

    before = texts()
    change(messages, tools)
    after = texts()
    assert not any("changed" in text for text in before)
    assert all("changed" in text for text in after)
    assert after[2] == server.text(messages[:3], tools, prompt=True)
    assert after[0].startswith(after[2])


def test_equal_values_at_other_places_have_their_own_text() -> None:
    encoder = encoder_of("qwen2_5", "byte_level")
    messages, tools = changeable()
    one, other = deepcopy(tools), deepcopy(tools)
    other[0]["function"]["parameters"]["properties"]["brand"]["description"] = "changed"
    texts = [encoder.render(messages, given, add_generation_prompt=False) for given in (one, other, one)]
    assert texts[0] == texts[2] != texts[1]
