"""The prompts of training have the day of their session, as a server's prompts have the day of the request."""

from datetime import date, datetime
from typing import Any

import pytest
from template_samples import SAMPLES

from tests.support.template_cases import case_of, encoder_of
from tests.support.vllm_rules import server_prompt_ids
from trainer.chat import EncodedSession
from trainer.chat.verify import verify_row
from trainer.endpoint.request import wire_messages
from trainer.tools.wire import wire_tool
from trainer.types import Session
from trainer.util.clock import session_day

DAYS = (date(2023, 12, 31), date(2025, 3, 9))
SESSION = next(session for session in SAMPLES if session.session_id == "chained calls")
# By template: the argument that takes the date, and its format.
ARGUMENT = {
    "llama3_1": ("date_string", "%d %b %Y"),
    "llama3_2": ("date_string", "%d %b %Y"),
    "muse_glimmer": ("current_date", "%Y-%m-%d"),
    "gptoss": None,
    "date_always": None,
    "date_in_default_system": None,
}


def on(day: date | None) -> Session:
    return Session(SESSION.session_id, SESSION.messages, SESSION.tools, day)


def assert_served(name: str, encoded: EncodedSession, **options: Any) -> None:
    """Check every prompt of a session against the server's."""
    tools = [wire_tool(tool) for tool in SESSION.tools]
    for row in encoded.rows:
        for span in row.spans:
            wire = wire_messages(SESSION.messages[: span.turn])
            served = server_prompt_ids(case_of(name, "byte_level").tokenizer, wire, tools, **options)
            assert row.input_ids[: span.start] == served


def noon(day: date) -> datetime:
    return datetime(day.year, day.month, day.day, 12)


@pytest.mark.parametrize("day", DAYS)
@pytest.mark.parametrize("name", ARGUMENT)
def test_the_prompts_of_a_session_are_those_that_are_served_on_its_day(name: str, day: date) -> None:
    encoder, argument = encoder_of(name, "byte_level"), ARGUMENT[name]
    (encoded,) = encoder.encode_batch([on(day)])
    assert isinstance(encoded, EncodedSession)
    kwargs = {} if argument is None else {argument[0]: day.strftime(argument[1])}
    assert encoder.date_kwargs(day) == kwargs
    assert_served(name, encoded, template_kwargs=kwargs, now=noon(day))
    for row in encoded.rows:
        checks = verify_row(encoder, SESSION.messages, SESSION.tools, row, day=day)
        assert all(check.prompt_is_exact and check.text_is_exact for check in checks)


@pytest.mark.parametrize("name", ["llama3_2", "muse_glimmer", "date_string_or_now"])
def test_the_argument_and_the_clock_of_the_server_give_the_same_prompt(name: str) -> None:
    (encoded,) = encoder_of(name, "byte_level").encode_batch([on(DAYS[0])])
    assert isinstance(encoded, EncodedSession)
    assert_served(name, encoded, now=noon(DAYS[0]))


@pytest.mark.parametrize("name", ARGUMENT)
def test_another_day_gives_other_tokens_and_an_inexact_check(name: str) -> None:
    encoder = encoder_of(name, "byte_level")
    first, second = encoder.encode_batch([on(day) for day in DAYS])
    assert isinstance(first, EncodedSession)
    assert first != second
    checks = verify_row(encoder, SESSION.messages, SESSION.tools, first.rows[0], day=DAYS[1])
    assert not any(check.prompt_is_exact for check in checks)


@pytest.mark.parametrize("name", ["llama3_2", "gptoss"])
def test_a_session_without_a_day_has_one_that_is_drawn_from_its_id(name: str) -> None:
    encoder = encoder_of(name, "byte_level")
    (drawn,) = encoder.encode_batch([on(None)])
    assert encoder.encode_batch([on(session_day(SESSION.session_id))]) == [drawn]
    other = encoder.encode(SESSION.messages, SESSION.tools, session_id="another")
    assert isinstance(drawn, EncodedSession)
    assert other.rows != drawn.rows


@pytest.mark.parametrize("name", ["llama3_2", "gptoss", "date_always"])
def test_a_prompt_without_a_day_is_that_of_today(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    class Clock(datetime):
        @classmethod
        def now(cls, tz: Any = None) -> "Clock":
            return cls(2023, 12, 31, 23, 59, tzinfo=tz)

    monkeypatch.setattr("transformers.utils.chat_template_utils.datetime", Clock)
    encoder = encoder_of(name, "byte_level")
    for turn in (1, 3):
        before = SESSION.messages[:turn]
        assert encoder.prompt_ids(before, SESSION.tools) == encoder.prompt_ids(before, SESSION.tools, day=DAYS[0])


def test_an_argument_that_is_set_is_kept_on_every_day() -> None:
    encoder = encoder_of("llama3_2, dated", "byte_level")
    first, second = encoder.encode_batch([on(day) for day in DAYS])
    assert first == second
    assert encoder.date_kwargs(DAYS[0]) == {}
