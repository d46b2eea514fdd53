"""Messages of the small server: a failed attempt is a call that cannot be decoded, as with the plugin for vLLM."""

from tests.support.scoring import HERMES
from trainer.endpoint.answer import parse_calls
from trainer.serving.local.responses import read_message


def test_a_failed_attempt_is_passed_on_beside_a_good_call() -> None:
    text = (
        'On it.\n<tool_call>{"name": "f", oops}</tool_call>\n' + '<tool_call>{"name": "g", "arguments": {}}</tool_call>'
    )
    message = read_message(text, fmt=HERMES, tools=(), finished=True)
    assert message["content"] == "On it."
    _, calls = parse_calls(message["tool_calls"], finish_reason="stop")
    assert [(call.status == "ok", call.name) for call in calls] == [(False, None), (True, "g")]


def test_text_without_an_attempt_is_the_content_as_it_is() -> None:
    assert read_message(" Hello! ", fmt=HERMES, tools=(), finished=True) == {"role": "assistant", "content": " Hello! "}
