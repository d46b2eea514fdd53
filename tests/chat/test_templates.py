"""Every template with several kinds of tokenizer: spans equal a slow reference, or the refusal is true.

The reference is what vLLM's server renders (`tests.support.slow_reference`). Nothing is taken from the encoder but its
rows, its refusals, and the content format with which `serve` starts a server.
"""

import pytest
from template_table import template_folder

from tests.support.chat import TOKENIZER_KINDS
from tests.support.odd_samples import ALL_SAMPLES
from tests.support.odd_templates import ODD_TEMPLATES
from tests.support.slow_reference import Server, is_true_refusal, trained_turns
from tests.support.template_cases import ARGUMENTS, ODD_CASES, STOCK, STOCK_CASES, Case, case_of, encoder_of
from trainer.chat import ChatEncoder, EncodedSession
from trainer.types import IGNORE_INDEX, Session
from trainer.util.clock import session_day

# Conversations that each case proves; of the others, the refusal is checked.
PROVES_NONE = {"deepseek_r1_distill", "deepseekv3"}
# The kinds of `ODD_KINDS` that tell templates apart. Without ChatML tokens a template that needs them is another one.
ODD_TOKENIZERS = ("byte_level", "metaspace", "whitespace")


def test_no_stock_template_is_left_out() -> None:
    stock = {path.stem for path in template_folder().glob("*.jinja") if not path.stem.endswith("_training")}
    assert stock == set(STOCK)


def test_every_argument_that_changes_the_thinking_of_a_template_has_a_case() -> None:
    for name in STOCK:
        takes = encoder_of(name, "byte_level").profile.template_kwargs
        for argument in ("enable_thinking", "preserve_thinking"):
            tried = any(template == name and kwargs.get(argument) for template, kwargs in ARGUMENTS.values())
            assert tried == (argument in takes), (name, argument)


@pytest.mark.parametrize("kind", TOKENIZER_KINDS)
@pytest.mark.parametrize("name", STOCK_CASES)
def test_spans_of_a_stock_template_equal_the_reference_or_the_refusal_is_true(name: str, kind: str) -> None:
    refused = check(case_of(name, kind), encoder_of(name, kind))
    assert (len(refused) == len(ALL_SAMPLES)) == (name in PROVES_NONE)


@pytest.mark.parametrize("kind", ODD_TOKENIZERS)
@pytest.mark.parametrize("name", ODD_CASES)
def test_spans_of_an_odd_template_equal_the_reference_or_the_refusal_is_true(name: str, kind: str) -> None:
    assert check(case_of(name, kind), encoder_of(name, kind)) == set(ODD_TEMPLATES[name].refused)


def check(case: Case, encoder: ChatEncoder) -> set[str]:
    """Compare the rows of all conversations with the reference. Returns the names of those that are refused."""
    refused = set()
    for session, encoded in zip(ALL_SAMPLES, encoder.encode_batch(ALL_SAMPLES), strict=True):
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
