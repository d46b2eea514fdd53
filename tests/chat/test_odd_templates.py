"""What is written about the odd templates is what the server's prompts show; and the odd tokenizers are as named."""

import json
from collections.abc import Iterator
from datetime import datetime
from typing import Any

import pytest
from jinja2 import TemplateError

from tests.support.odd_samples import ALL_SAMPLES
from tests.support.odd_templates import ODD_TEMPLATES, OddTemplate
from tests.support.odd_tokenizers import ODD_KINDS, odd_tokenizer
from tests.support.vllm_rules import server_prompt
from trainer.endpoint.request import wire_messages
from trainer.tools.wire import wire_tool
from trainer.types import Message, Session

SUMMER, WINTER = datetime(2024, 7, 26), datetime(2025, 1, 2)


def prompts(template: OddTemplate, tokenizer: Any, session: Session, now: datetime) -> Iterator[tuple[int, str, str]]:
    """Yield each trained turn, its serving prompt, and the prompt of a conversation that ends with the turn."""
    wire, tools = wire_messages(session.messages), [wire_tool(tool) for tool in session.tools]
    for turn, message in enumerate(session.messages):
        if message["role"] == "assistant" and message.get("train", True):
            prompt, written = (
                server_prompt(
                    tokenizer,
                    wire[:end],
                    tools,
                    template_kwargs=template.kwargs,
                    content_format=template.content_format,
                    now=now,
                )
                for end in (turn, turn + 1)
            )
            yield turn, prompt, written


def seen(template: OddTemplate, tokenizer: Any, session: Session) -> str:
    """Return what the server's prompts show about a conversation, in the words of `odd_templates`."""
    try:
        found = list(prompts(template, tokenizer, session, SUMMER))
    except (TemplateError, TypeError):
        return "rejects"
    for turn, prompt, written in found:
        missing = [lack for m in session.messages[: turn + 1] if (lack := lacking(m, written))]
        if missing:
            return "drops" if "drops" in missing else missing[0]
        if not written.startswith(prompt):
            return "continuation"
    return "proven"


def lacking(message: Message, written: str) -> str:
    """Return what of a message is missing in a text, in a word."""
    calls = [
        json.dumps(json.loads(c["function"]["arguments"]), ensure_ascii=False) for c in message.get("tool_calls") or ()
    ]
    if (message.get("content") or "") not in written:
        return {"system": "system", "tool": "tool results"}.get(
            message["role"], "content with a call" if calls else "drops"
        )
    if (message.get("reasoning_content") or "") not in written:
        return "reasoning"
    return next(("several calls" for call in calls if call not in written), "")


@pytest.mark.parametrize("name", ODD_TEMPLATES)
def test_the_expected_refusals_are_those_that_the_prompts_show(name: str) -> None:
    template = ODD_TEMPLATES[name]
    tokenizer = odd_tokenizer(template, "byte_level")
    found = {session.session_id: seen(template, tokenizer, session) for session in ALL_SAMPLES}
    assert found == {sample: template.expected(sample) for sample in found}


def test_only_some_templates_show_the_day_of_the_request() -> None:
    dated = set()
    for name, template in ODD_TEMPLATES.items():
        tokenizer = odd_tokenizer(template, "byte_level")
        for session in ALL_SAMPLES:
            if template.expected(session.session_id) == "proven":
                summer, winter = (list(prompts(template, tokenizer, session, now)) for now in (SUMMER, WINTER))
                dated |= {name} if summer != winter else set()
    assert dated == {"date_in_default_system", "date_always", "date_string_or_now"}


@pytest.mark.parametrize("name", ODD_TEMPLATES)
def test_the_stop_token_ends_each_turn_and_no_eos_comes_before_it(name: str) -> None:
    template = ODD_TEMPLATES[name]
    tokenizer = odd_tokenizer(template, "byte_level")
    for session in ALL_SAMPLES:
        if template.expected(session.session_id) != "proven":
            continue
        for turn, prompt, written in prompts(template, tokenizer, session, SUMMER):
            target = written.removeprefix(prompt)
            stop = template.stop_call if session.messages[turn].get("tool_calls") else template.stop_text
            if name == "next_role_ends":
                assert target.endswith("<|assistant|>")
                assert not any(token in target.removesuffix("<|assistant|>") for token in template.special_tokens)
            else:
                assert target.count(stop) == 1
                assert template.eos not in target.partition(stop)[0]


def test_every_refused_conversation_exists() -> None:
    known = {session.session_id for session in ALL_SAMPLES}
    assert len(known) == len(ALL_SAMPLES)
    for template in ODD_TEMPLATES.values():
        assert set(template.refused) <= known


@pytest.mark.parametrize("kind", ODD_KINDS)
def test_every_kind_of_tokenizer_keeps_the_prompt(kind: Any) -> None:
    for template in ODD_TEMPLATES.values():
        tokenizer = odd_tokenizer(template, kind)
        (session,) = (session for session in ALL_SAMPLES if session.session_id == "awkward text")
        if template.expected(session.session_id) == "proven":
            *_, (_, prompt, _) = prompts(template, tokenizer, session, SUMMER)
            ids = tokenizer(prompt, add_special_tokens=False)["input_ids"]
            assert tokenizer.decode(ids, clean_up_tokenization_spaces=False) == prompt


def test_the_kinds_of_tokenizers_have_the_tokens_that_their_names_say() -> None:
    plain = ODD_TEMPLATES["closing_not_special"]
    whitespace, no_chatml = odd_tokenizer(plain, "whitespace"), odd_tokenizer(plain, "no_chatml")
    assert {"\n", "\n\n", "  "} <= set(whitespace.get_added_vocab())
    assert {"\n", "<|im_end|>"}.isdisjoint(whitespace.all_special_tokens)
    assert {"<|im_start|>", "<|im_end|>"}.isdisjoint(no_chatml.get_vocab())
    assert odd_tokenizer(plain, "no_eos").eos_token is None
    assert odd_tokenizer(plain, "byte_level").eos_token == "<eos>"
    special = {token.content for token in whitespace.added_tokens_decoder.values() if token.special}
    assert "<|im_start|>" in special
    assert "<|im_end|>" not in special
