"""Every template with several kinds of tokenizer: spans equal a slow reference, or the refusal is true.

The reference is what vLLM's server renders (`tests.support.slow_reference`). Nothing is taken from the encoder but its
rows, its refusals, and the content format with which `serve` starts a server.
"""

from collections.abc import Iterator, Sequence
from dataclasses import replace

import pytest
from template_table import template_folder

from tests.support.chat import TOKENIZER_KINDS
from tests.support.odd_samples import ALL_SAMPLES
from tests.support.odd_templates import ODD_TEMPLATES
from tests.support.slow_reference import Server, is_true_refusal, trained_turns
from tests.support.template_cases import ARGUMENTS, ODD_CASES, STOCK, STOCK_CASES, Case, case_of, encoder_of
from trainer.chat import ChatEncoder, EncodedSession, canonical_messages
from trainer.types import IGNORE_INDEX, Session
from trainer.util.clock import session_day

# Clients send canonical messages: results are in the order of their calls.
CONVERSATIONS = [replace(session, messages=tuple(canonical_messages(session.messages))) for session in ALL_SAMPLES]
# With these, no conversation can be trained.
PROVES_NONE = {"deepseek_r1_distill", "deepseekv3"}


def kinds_for(name: str) -> Iterator[str]:
    """Yield the kinds of tokenizers on whose tokens an odd template does not depend."""
    yield from ("byte_level", "metaspace", "whitespace")
    if "<|im_" not in ODD_TEMPLATES[name].text:
        yield "no_chatml"
    if not name.startswith("ends_twice"):
        yield "no_eos"


def test_no_stock_template_is_left_out() -> None:
    stock = {path.stem for path in template_folder().glob("*.jinja") if not path.stem.endswith("_training")}
    assert stock == set(STOCK)


def test_every_argument_that_changes_the_thinking_of_a_template_has_a_case() -> None:
    for name in STOCK:
        takes = encoder_of(name, "byte_level").profile.template_kwargs
        for argument in ("enable_thinking", "preserve_thinking"):
            tried = any(template == name and kwargs.get(argument) for template, kwargs in ARGUMENTS.values())
            assert tried == (argument in takes), (name, argument)


# Template arguments change the text, and not how a tokenizer reads it, so the slowest kind is left out there.
STOCK_KINDS = [
    (name, kind) for name in STOCK_CASES for kind in TOKENIZER_KINDS if name not in ARGUMENTS or kind != "smollm2"
]


@pytest.mark.parametrize(("name", "kind"), STOCK_KINDS)
def test_spans_of_a_stock_template_equal_the_reference_or_the_refusal_is_true(name: str, kind: str) -> None:
    refused = check(case_of(name, kind), encoder_of(name, kind), CONVERSATIONS)
    assert (len(refused) == len(CONVERSATIONS)) == (name in PROVES_NONE)


@pytest.mark.parametrize("name", ["gemma4", "gemma4_v2", "gemma4_v3", "gemma4_v4", "gemma4, thinking"])
def test_a_turn_whose_text_comes_after_its_calls_is_proven(name: str) -> None:
    sessions = [session for session in CONVERSATIONS if session.session_id == "content with a call"]
    assert check(case_of(name, "byte_level"), encoder_of(name, "byte_level"), sessions) == set()


@pytest.mark.parametrize(("name", "kind"), [(name, kind) for name in ODD_CASES for kind in kinds_for(name)])
def test_spans_of_an_odd_template_equal_the_reference_or_the_refusal_is_true(name: str, kind: str) -> None:
    assert check(case_of(name, kind), encoder_of(name, kind), CONVERSATIONS) == set(ODD_TEMPLATES[name].refused)


def check(case: Case, encoder: ChatEncoder, sessions: Sequence[Session]) -> set[str]:
    """Compare the rows of conversations with the reference. Returns the names of those that are refused."""
    refused = set()
    for session, encoded in zip(sessions, encoder.encode_batch(sessions), strict=True):
        day = session_day(session.session_id)
        server = Server(case.tokenizer, case.manual, day, encoder.content_format)
        if isinstance(encoded, EncodedSession):
            assert_equals_reference(server, encoded, session)
        else:
            refused.add(session.session_id)
            assert session.session_id in str(encoded)
            assert is_true_refusal(server, session, str(encoded)), str(encoded)
    return refused


def assert_equals_reference(server: Server, encoded: EncodedSession, session: Session) -> None:
    assert sorted(span.turn for row in encoded.rows for span in row.spans) == trained_turns(session)
    for row in encoded.rows:
        labels = [IGNORE_INDEX] * len(row.input_ids)
        for span in row.spans:
            ids = row.input_ids[span.start : span.end]
            assert row.input_ids[: span.start] == server.prompt_ids(session.messages[: span.turn], session.tools)
            assert server.decode_after(row.input_ids[: span.start], ids) == server.target(session, span.turn)
            stop = server.manual.stop(session.messages[span.turn])
            assert ids[-1] == server.tokenizer.convert_tokens_to_ids(stop)
            labels[span.start : span.end] = ids
        assert row.labels() == labels
