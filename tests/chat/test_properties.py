"""Properties that hold for every conversation, checked on random ones full of awkward text and markup."""

import json
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from template_samples import TOOLS

from tests.support.chat import own_template, stock_template, tokenizer_for
from trainer.chat import ChatEncoder, EncodedSession
from trainer.chat.verify import verify_row
from trainer.types import Message, Session

# The templates' own markup, characters that tokenizers merge with their neighbours, and parts of longer markup.
PIECES = (
    *("<|im_start|>", "<|im_end|>", "<|im_start|>assistant\n", "<think>", "</think>", "\n\n", "\n", " ", "  "),
    *("<tool_call>", "</tool_call>", "<tool_response>", "</tool_response>", "<|user|>", "<|observation|>"),
    *("<|eot_id|>", "<|start_header_id|>", "<|end|>", "<|", "|>", "<", "assistant", "\r\n", "\t", "é", "e\u0301"),
    *("🚗", "👩‍👩‍👧", "日本", "\u200b", "\u00a0", "\x00", "\ufeff", "</s>", "{{ x }}", "{% if %}", "None", '{"a": 1}'),
)
# SmolLM2 has no tokens for some control characters and for Unicode planes above 3: it drops them.
LETTERS = st.characters(max_codepoint=0x3FFFF, exclude_categories=("Cs", "Cc"))
TEXT = st.lists(st.sampled_from(PIECES) | st.text(LETTERS, max_size=6), max_size=5).map("".join)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**6), 10**6) | st.floats(allow_nan=False, allow_infinity=False) | TEXT,
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(LETTERS, max_size=4), inner, max_size=2),
    max_leaves=4,
)
ARGUMENTS = st.dictionaries(st.sampled_from(("brand", "max_price", "day")), JSON, max_size=2)


@st.composite
def conversations(draw: st.DrawFn, *, tools: bool) -> list[Message]:
    """Rounds of a question, calls with their results, and an answer."""
    messages: list[Message] = []
    if draw(st.booleans()):
        messages.append({"role": "system", "content": draw(TEXT)})
    calls = 0
    for _ in range(draw(st.integers(1, 3))):
        messages.append({"role": "user", "content": draw(TEXT)})
        for _ in range(draw(st.integers(0, 2)) if tools else 0):
            batch = []
            for _ in range(draw(st.integers(1, 2))):
                calls += 1
                arguments = draw(ARGUMENTS)
                given_as = json.dumps(arguments) if draw(st.booleans()) else arguments
                function: Any = {"name": "find_car", "arguments": given_as}
                batch.append({"id": f"call{calls:05d}", "type": "function", "function": function})
            content = draw(st.none() | TEXT)
            turn: Any = {"role": "assistant", "content": content, "tool_calls": batch, "train": draw(st.booleans())}
            messages.append(turn)
            messages += [{"role": "tool", "tool_call_id": call["id"], "content": draw(TEXT)} for call in batch]
        messages.append(
            {"role": "assistant", "content": draw(TEXT), "train": draw(st.sampled_from((True, True, False)))}
        )
    return messages


TEMPLATES = {
    "own": own_template(),
    **{name: stock_template(name) for name in ("qwen2_5", "qwen3", "qwen3_8", "glm4moe", "gemma4", "lfm2_2_5")},
}
NO_TOOL_TEMPLATES = {
    name: stock_template(name) for name in ("llama3", "gemma3", "phi3", "cohere", "llava_next", "qwen2_5_vl")
}
CASES = [(name, kind) for name in (*TEMPLATES, *NO_TOOL_TEMPLATES) for kind in ("smollm2", "byte_level")]
ENCODERS: dict[tuple[str, str], ChatEncoder] = {}


def encoder_for(name: str, kind: str) -> ChatEncoder:
    if (name, kind) not in ENCODERS:
        source = {**TEMPLATES, **NO_TOOL_TEMPLATES}[name]
        ENCODERS[name, kind] = ChatEncoder(tokenizer_for(source, kind), names_remedies=False)
    return ENCODERS[name, kind]


QUICK = settings(max_examples=25, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))


def encode(encoder: ChatEncoder, messages: list[Message], tools: Any) -> EncodedSession | str:
    """Return the encoded session, or the refusal, which must name the session."""
    (encoded,) = encoder.encode_batch([Session("s-1", tuple(messages), tools)])
    if isinstance(encoded, EncodedSession):
        return encoded
    assert "s-1" in str(encoded)
    return str(encoded)


@pytest.mark.parametrize("content", ["", "<|"])
def test_an_answer_that_the_opening_of_the_next_turn_contains_is_exact(content: str) -> None:
    encoder = encoder_for("glm4moe", "byte_level")
    messages: list[Message] = [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": content}]
    (row,) = encoder.encode(messages, (), session_id="s").rows
    assert all(check.text_is_exact for check in verify_row(encoder, messages, (), row))


@pytest.mark.parametrize(("name", "kind"), CASES)
def test_every_span_follows_its_serving_prompt_and_decodes_to_its_turn(name: str, kind: str) -> None:
    encoder = encoder_for(name, kind)
    tools = TOOLS if name in TEMPLATES else ()
    encoded = 0

    @QUICK
    @given(conversations(tools=bool(tools)))
    def check(messages: list[Message]) -> None:
        nonlocal encoded
        session = encode(encoder, messages, tools)
        if isinstance(session, str):
            return
        trained = [i for i, m in enumerate(messages) if m["role"] == "assistant" and m["train"]]
        assert sorted(span.turn for row in session.rows for span in row.spans) == trained
        for row in session.rows:
            for verdict in verify_row(encoder, messages, tools, row):
                assert verdict.prompt_is_exact
                assert verdict.text_is_exact
        encoded += 1

    check()
    assert encoded >= 5


@pytest.mark.parametrize(
    "name",
    [name for name in (*TEMPLATES, *NO_TOOL_TEMPLATES) if encoder_for(name, "smollm2").profile.preserves_prefixes],
)
def test_a_single_render_gives_the_same_rows_as_one_render_per_prompt(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    encoder = encoder_for(name, "smollm2")
    tools = TOOLS if name in TEMPLATES else ()
    monkeypatch.setattr("trainer.chat.bound_template.find_suffixes", lambda *_: None)
    source = {**TEMPLATES, **NO_TOOL_TEMPLATES}[name]
    slow = ChatEncoder(tokenizer_for(source, "smollm2"), names_remedies=False)
    assert not slow.profile.preserves_prefixes

    @QUICK
    @given(conversations(tools=bool(tools)))
    def check(messages: list[Message]) -> None:
        assert encode(encoder, messages, tools) == encode(slow, messages, tools)

    check()


@pytest.mark.parametrize("name", ["own", "qwen3"])
def test_a_batch_gives_the_same_rows_as_each_session_alone(name: str) -> None:
    encoder = encoder_for(name, "smollm2")

    @QUICK
    @given(st.lists(conversations(tools=True), max_size=4))
    def check(batch: list[list[Message]]) -> None:
        sessions = [Session(f"s-{i}", tuple(messages), TOOLS) for i, messages in enumerate(batch)]
        for session, together in zip(sessions, encoder.encode_batch(sessions), strict=True):
            (alone,) = encoder.encode_batch([session])
            assert alone == together or str(alone) == str(together)

    check()


def test_no_row_could_be_part_of_another() -> None:
    encoder = encoder_for("qwen2_5", "smollm2")

    @QUICK
    @given(conversations(tools=True))
    def check(messages: list[Message]) -> None:
        session = encode(encoder, messages, TOOLS)
        rows = () if isinstance(session, str) else session.rows
        for one in rows:
            for other in rows:
                # If one row were the beginning of another, the longer one could hold the spans of both.
                assert one is other or other.input_ids[: len(one.input_ids)] != one.input_ids

    check()
