"""Requests in OpenAI form."""

from typing import Any

from trainer.endpoint import Generation, chat_request, wire_messages
from trainer.types import Message

TOOL = {"type": "function", "function": {"name": "f", "parameters": {}}}
HELLO: list[Message] = [{"role": "user", "content": "Hello?"}]


def request(**changes: Any) -> dict[str, Any]:
    return chat_request(HELLO, [TOOL], Generation("base", max_tokens=8, **changes))


def test_messages_are_sent_in_openai_form() -> None:
    messages: list[Message] = [
        {"role": "assistant", "content": "", "train": False, "tool_calls": [_call("a", {"x": "é"}), _call(None, {})]},
        {"role": "tool", "content": "1", "tool_call_id": "a"},
        {"role": "tool", "content": "2"},
        {"role": "assistant", "content": "", "tool_calls": [_call(None, {})]},
        {"role": "tool", "content": "3"},
        {"role": "assistant", "content": "Fine."},
    ]
    wire = wire_messages(messages)
    first = wire[0]
    assert first["content"] is None
    assert "train" not in first
    assert first["tool_calls"][0] == {
        "id": "a",
        "type": "function",
        "function": {"name": "f", "arguments": '{"x": "é"}'},
    }
    made_up = [wire[0]["tool_calls"][1]["id"], wire[3]["tool_calls"][0]["id"]]
    assert [wire[1]["tool_call_id"], wire[2]["tool_call_id"], wire[4]["tool_call_id"]] == ["a", *made_up]
    assert len(set(made_up)) == 2
    assert all(len(made) == 9 and made.isalnum() for made in made_up)
    assert wire[5] == {"role": "assistant", "content": "Fine."}


def test_a_request_has_no_field_that_was_not_set() -> None:
    assert set(request()) == {"model", "messages", "tools", "max_tokens", "temperature"}
    more = request(chat_template_kwargs={"enable_thinking": False}, keep_special_tokens=True, extra_body={"seed": 1})
    assert more["chat_template_kwargs"] == {"enable_thinking": False}
    assert (more["skip_special_tokens"], more["seed"]) == (False, 1)


def _call(call_id: str | None, arguments: dict[str, Any]) -> Any:
    call = {"type": "function", "function": {"name": "f", "arguments": arguments}}
    return {"id": call_id, **call} if call_id else call
