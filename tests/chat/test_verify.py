"""The check of a finished row finds what is wrong with a row, whatever the span finder thinks."""

from collections.abc import Iterator

import pytest

from tests.chat.test_templates import CONVERSATIONS
from tests.support.slow_reference import Server, trained_turns
from tests.support.template_cases import ODD_CASES, STOCK_CASES, case_of, encoder_of
from trainer.chat import ChatEncoder, EncodedRow, EncodedSession, Span
from trainer.chat.verify import SpanCheck, verify_row
from trainer.types import Message, Session
from trainer.util.clock import session_day

ALWAYS_PROMPTING = [name for name in ODD_CASES if name.startswith("header_always")]
MOVED = ("own", "qwen3", "glm4moe", "gemma4", "gptoss", "llama3_2", "deepseekv3", "answers_wrapped", *ALWAYS_PROMPTING)
QUESTION: Message = {"role": "user", "content": "Hi"}
ANSWER: Message = {"role": "assistant", "content": "Hello!"}


def encoded_rows(encoder: ChatEncoder) -> Iterator[tuple[Session, EncodedRow]]:
    """Yield the rows of every conversation that is not refused."""
    for session, encoded in zip(CONVERSATIONS, encoder.encode_batch(CONVERSATIONS), strict=True):
        if isinstance(encoded, EncodedSession):
            for row in encoded.rows:
                yield session, row


def checked(encoder: ChatEncoder, session: Session, row: EncodedRow) -> list[SpanCheck]:
    """Check a row on the day of its session."""
    return verify_row(encoder, session.messages, session.tools, row, day=session_day(session.session_id))


def is_exact(check: SpanCheck) -> bool:
    return check.prompt_is_exact and check.text_is_exact


@pytest.mark.parametrize("name", [*STOCK_CASES, *ODD_CASES])
def test_the_expected_text_of_every_turn_is_that_of_the_reference(name: str) -> None:
    case, encoder = case_of(name, "byte_level"), encoder_of(name, "byte_level")
    for session, row in encoded_rows(encoder):
        server = Server(case.tokenizer, case.manual, session_day(session.session_id), encoder.content_format)
        for check in checked(encoder, session, row):
            assert check.target == server.target(session, check.turn)
            assert is_exact(check)


@pytest.mark.parametrize("name", [name for name in MOVED if name != "deepseekv3"])
def test_a_span_that_is_moved_by_one_token_is_not_exact(name: str) -> None:
    encoder = encoder_of(name, "byte_level")
    moved = 0
    for session, row in encoded_rows(encoder):
        ids = [*row.input_ids, row.input_ids[0]]
        for turn, start, end in row.spans:
            ends = [(start + 1, end), (start - 1, end), (start, end + 1), (start, end - 1)]
            ends += [(start + 1, end + 1), (start - 1, end - 1)]
            for wrong in (Span(turn, *place) for place in ends):
                (check,) = checked(encoder, session, EncodedRow(ids, (wrong,)))
                assert not is_exact(check), wrong
                assert check.prompt_is_exact == (wrong.start == start)
                moved += 1
    assert moved >= 100


def rows_by_hand(name: str, kind: str, *endings: str) -> Iterator[SpanCheck]:
    """Yield the check of rows whose spans end with these texts, of which a person reads the first in the template."""
    case, encoder = case_of(name, kind), encoder_of(name, kind)
    messages = (QUESTION, ANSWER)
    server = Server(case.tokenizer, case.manual, session_day("s"), encoder.content_format)
    prompt = server.prompt_ids(messages[:1], ())
    for ending in endings:
        target = case.tokenizer("Hello!" + ending, add_special_tokens=False)["input_ids"]
        row = EncodedRow(prompt + target, (Span(1, len(prompt), len(prompt + target)),))
        (check,) = verify_row(encoder, messages, (), row)
        yield check


@pytest.mark.parametrize("kind", ["byte_level", "whitespace"])
@pytest.mark.parametrize("name", ALWAYS_PROMPTING)
def test_a_span_that_ends_in_the_header_of_the_next_turn_is_not_exact(name: str, kind: str) -> None:
    stop = case_of(name, kind).manual.stop_text
    if "llama" in name:
        opening, header = "<|start_header_id|>", "<|start_header_id|>assistant<|end_header_id|>"
    else:
        opening, header = "<|START_OF_TURN_TOKEN|>", "<|START_OF_TURN_TOKEN|><|CHATBOT_TOKEN|>"
    right, *wrong = rows_by_hand(name, kind, stop, stop + opening, stop + header, stop + header + "\n\n", "")
    assert is_exact(right)
    assert all(check.prompt_is_exact and not check.text_is_exact for check in wrong)
    assert {check.target for check in wrong} == {"Hello!" + stop}


@pytest.mark.parametrize(
    ("name", "kind"),
    [("newline_token", "byte_level"), ("newline_token", "whitespace"), ("function_dumped", "whitespace")],
)
def test_a_span_that_ends_with_a_newline_is_not_exact(name: str, kind: str) -> None:
    right, *wrong = rows_by_hand(name, kind, "<|im_end|>", "<|im_end|>\n", "\n", "")
    assert is_exact(right)
    assert all(check.prompt_is_exact and not check.text_is_exact for check in wrong)


@pytest.mark.parametrize(
    ("name", "endings"),
    [
        ("ends_twice_eos_last", ("<|im_end|><|endoftext|>", "<|im_end|>", "<|im_end|><|endoftext|>\n")),
        ("ends_twice_eos_first", ("<|endoftext|>", "<|endoftext|><|im_end|>", "")),
        ("next_role_ends", ("<|user|>", "<|observation|>", "")),
        ("closing_not_special", ("<|im_end|>", "<|im_end|>\n", "<eos>")),
    ],
)
def test_a_span_that_ends_with_another_token_than_the_model_stops_at_is_not_exact(
    name: str, endings: tuple[str, ...]
) -> None:
    right, *wrong = rows_by_hand(name, "byte_level", *endings)
    assert is_exact(right)
    assert not any(check.text_is_exact for check in wrong)


def test_a_span_of_another_turn_is_not_exact() -> None:
    encoder = encoder_of("own", "byte_level")
    for session, row in encoded_rows(encoder):
        if len(trained_turns(session)) > 1:
            first, second, *_ = row.spans
            swapped = EncodedRow(row.input_ids, (Span(second.turn, *first[1:]), Span(first.turn, *second[1:])))
            assert not any(check.prompt_is_exact or check.text_is_exact for check in checked(encoder, session, swapped))
