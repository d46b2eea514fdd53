"""A refusal names what makes the conversation usable, and nothing if nothing does."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.chat.test_templates import CONVERSATIONS
from tests.support.chat import own_template, tokenizer_for
from tests.support.template_cases import case_of, encoder_of
from trainer.chat import ChatEncoder, EncodedSession
from trainer.chat.bound_template import with_template
from trainer.types import Message, Session

NOTHING = "no other setting that was tried helps"
OTHER_SETTING = re.compile(r"set data\.chat_template_kwargs to \{(\w+): (true|false)\}")
OTHER_TEMPLATE = re.compile(r"set model\.chat_template_path to (\S+\.jinja)")
NO_LOSS = "set train: false on the turn"
NAMES = (
    *("qwen3", "qwen3_8", "glm4moe", "gemma4_v5, thinking", "nemotron_3_nano, thinking", "deepseekv3", "lfm2"),
    *("gemma", "llama3", "llama3_1", "gptoss", "thinks_mistral", "one_call", "parts_only", "system_required"),
    *("arguments_as_text", "one_system_message"),
)
QUESTION: Message = {"role": "user", "content": "Hi"}


def answer(text: str) -> Message:
    return {"role": "assistant", "content": text}


def refusals(encoder: ChatEncoder, sessions: Sequence[Session]) -> Iterator[tuple[Session, str]]:
    for session, encoded in zip(sessions, encoder.encode_batch(sessions), strict=True):
        if not isinstance(encoded, EncodedSession):
            yield session, str(encoded)


def encodes(tokenizer: Any, session: Session, template_kwargs: Any) -> bool:
    """Return whether a new encoder encodes a session."""
    encoder = ChatEncoder(tokenizer, template_kwargs=template_kwargs, names_remedies=False)
    (encoded,) = encoder.encode_batch([session])
    return isinstance(encoded, EncodedSession)


def without_loss(session: Session, refusal: str) -> Session | None:
    """Return the session without loss on the refused turn; None if no turn is refused, or no other one is trained."""
    found = re.search(r", turn (\d+): ", refusal)
    if found is None or session.messages[int(found[1])]["role"] != "assistant":
        return None
    messages = list(session.messages)
    messages[int(found[1])] = {**messages[int(found[1])], "train": False}
    trained = any(m["role"] == "assistant" and m.get("train") is not False for m in messages)
    return replace(session, messages=tuple(messages)) if trained else None


@pytest.mark.parametrize("name", NAMES)
def test_every_remedy_that_is_named_makes_the_same_session_usable(name: str) -> None:
    case = case_of(name, "byte_level")
    encoder = ChatEncoder(case.tokenizer, template_kwargs=case.template_kwargs)
    n_named = 0
    for session, refusal in refusals(encoder, CONVERSATIONS):
        setting, template = OTHER_SETTING.search(refusal), OTHER_TEMPLATE.search(refusal)
        if setting:
            kwargs = {**encoder.template_kwargs, setting[1]: setting[2] == "true"}
            assert encodes(case.tokenizer, session, kwargs), refusal
        if template:
            text = Path(template[1]).read_text(encoding="utf-8")
            assert encodes(with_template(case.tokenizer, text), session, {}), refusal
        if NO_LOSS in refusal:
            changed = without_loss(session, refusal)
            assert changed is not None
            assert encodes(case.tokenizer, changed, encoder.template_kwargs), refusal
        n_named += bool(setting) + bool(template) + (NO_LOSS in refusal)
        assert (NOTHING in refusal) == (not setting and not template and NO_LOSS not in refusal)
    assert n_named >= 1


def test_for_reasoning_thinking_is_switched_on_and_no_other_template_is_named() -> None:
    made = ChatEncoder(case_of("qwen3", "byte_level").tokenizer)
    (session,) = (session for session in CONVERSATIONS if session.session_id == "reasoning")
    ((_, refusal),) = refusals(made, [session])
    assert refusal.endswith("; set data.chat_template_kwargs to {enable_thinking: true}")


def test_who_cannot_change_the_template_can_leave_the_turn_out() -> None:
    made = ChatEncoder(case_of("qwen2_5", "byte_level").tokenizer)
    reasoned: Message = {**answer("Hello"), "reasoning_content": "They greet me."}
    session = Session("one reasons", (QUESTION, reasoned, QUESTION, answer("Hello")), ())
    ((_, refusal),) = refusals(made, [session])
    assert OTHER_TEMPLATE.search(refusal)
    assert refusal.endswith(f", or {NO_LOSS}")


def test_a_switch_that_does_not_help_is_not_named() -> None:
    # The template rejects a second system message whether it thinks or not.
    made = ChatEncoder(case_of("qwen3_8", "byte_level").tokenizer)
    (session,) = (session for session in CONVERSATIONS if session.session_id == "two system messages")
    ((_, refusal),) = refusals(made, [session])
    assert OTHER_TEMPLATE.search(refusal)
    assert "chat_template_kwargs" not in refusal


def test_nothing_is_named_if_nothing_helps() -> None:
    tokenizer = tokenizer_for(own_template())  # its turns end with <|im_end|>
    session = Session("only turn", (QUESTION, answer("a<|im_end|>b")), ())
    for made in (ChatEncoder(tokenizer), ChatEncoder(case_of("qwen3", "smollm2").tokenizer)):
        ((_, refusal),) = refusals(made, [session])
        assert refusal.endswith(f"; {NOTHING}; change or remove the conversation")
        assert not OTHER_SETTING.search(refusal)
        assert not OTHER_TEMPLATE.search(refusal)
        assert NO_LOSS not in refusal


def test_a_turn_without_loss_is_named_if_another_turn_is_left() -> None:
    tokenizer = tokenizer_for(own_template())
    made = ChatEncoder(tokenizer)
    session = Session("two turns", (QUESTION, answer("a<|im_end|>b"), QUESTION, answer("Hello")), ())
    ((_, refusal),) = refusals(made, [session])
    assert refusal.endswith(f"; {NO_LOSS}")
    changed = without_loss(session, refusal)
    assert changed is not None
    assert encodes(tokenizer, changed, {})


def test_an_encoder_that_names_no_remedies_gives_the_same_reasons() -> None:
    case = case_of("qwen3", "byte_level")
    named = {session.session_id: refusal for session, refusal in refusals(ChatEncoder(case.tokenizer), CONVERSATIONS)}
    plain = {
        session.session_id: refusal for session, refusal in refusals(encoder_of("qwen3", "byte_level"), CONVERSATIONS)
    }
    assert named.keys() == plain.keys()
    assert all(named[name].startswith(f"{plain[name]}; ") for name in plain)
