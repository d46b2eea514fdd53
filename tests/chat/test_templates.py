"""Every stock template, with several kinds of tokenizer: spans equal a slow reference, or the refusal is right."""

from typing import Any

import pytest
from template_samples import SAMPLES
from template_table import template_folder

from tests.support.chat import (
    TOKENIZER_KINDS,
    Manual,
    own_template,
    reference,
    stock_template,
    tokenizer_for,
)
from trainer.chat import ChatEncoder, EncodedSession
from trainer.chat.proof import Span
from trainer.errors import TemplateError
from trainer.types import IGNORE_INDEX, Session

CHATML = Manual("<|im_end|>", "<|im_end|>")
THINKING_OFF = Manual("<|im_end|>", "<|im_end|>", kwargs={"enable_thinking": False})
GEMMA_4 = Manual("<turn|>", "<|tool_response>", kwargs={"enable_thinking": False})
LLAMA = Manual("<|eot_id|>", "<|eot_id|>")

TEXT_ONLY = {"tool schemas", "tool calls", "tool results", "reasoning"}
NO_REASONING = {"reasoning"}
THINKING_OFF_REFUSES = {"continuation"}
ONE_CALL = {"several calls", "content with", "reasoning"}

# By template: how a person reads it, and what it cannot do (a part of each refusal).
READ: dict[str, tuple[Manual, set[str]]] = {
    "own": (CHATML, set()),
    "cohere": (Manual("<|END_OF_TURN_TOKEN|>"), TEXT_ONLY),
    "cohere2": (Manual("<|END_OF_TURN_TOKEN|>"), TEXT_ONLY),
    "diffusion_gemma": (GEMMA_4, {"continuation"}),
    "gemma": (Manual("<end_of_turn>"), TEXT_ONLY | {"system message"}),
    "gemma3": (Manual("<end_of_turn>"), TEXT_ONLY),
    "gemma4": (GEMMA_4, NO_REASONING),
    "gemma4_v2": (Manual("<turn|>", "<turn|>", kwargs={"enable_thinking": False}), NO_REASONING),
    "gemma4_v3": (GEMMA_4, NO_REASONING),
    "gemma4_v4": (GEMMA_4, NO_REASONING),
    "gemma4_v5": (GEMMA_4, {"continuation"}),
    "glm4moe": (
        Manual("<|user|>", "<|observation|>", kwargs={"enable_thinking": False}, appended=True),
        THINKING_OFF_REFUSES,
    ),
    "idefics3": (Manual("<end_of_utterance>", parts=True), TEXT_ONLY),
    "lfm2": (CHATML, {"tool calls", "tool results", "reasoning"}),
    "lfm2_2_5": (Manual("<|im_end|>", "<|im_end|>", reasoning_key="thinking"), set()),
    "lfm2_2_5_v2": (CHATML, set()),
    "lfm2_2_5_vl": (CHATML, set()),
    "lfm2_v2": (CHATML, NO_REASONING),
    "llama3": (LLAMA, TEXT_ONLY),
    "llama3_1": (LLAMA, ONE_CALL),
    "llava_next": (Manual("</s>", parts=True), TEXT_ONLY),
    "nemotron_3_5_lightning": (THINKING_OFF, THINKING_OFF_REFUSES),
    "nemotron_3_nano": (THINKING_OFF, THINKING_OFF_REFUSES),
    "nemotron_3_super": (THINKING_OFF, THINKING_OFF_REFUSES),
    "nemotron_3_ultra": (THINKING_OFF, THINKING_OFF_REFUSES),
    "phi3": (Manual("<|end|>"), TEXT_ONLY),
    "phi3_5": (Manual("<|end|>"), TEXT_ONLY),
    "qwen2_5": (CHATML, NO_REASONING),
    "qwen2_5_vl": (CHATML, TEXT_ONLY),
    "qwen3": (THINKING_OFF, THINKING_OFF_REFUSES),
    "qwen3_5_nothink": (THINKING_OFF, THINKING_OFF_REFUSES),
    "qwen3_5_think": (THINKING_OFF, THINKING_OFF_REFUSES),
    "qwen3_6": (THINKING_OFF, THINKING_OFF_REFUSES),
    "qwen3_8": (THINKING_OFF, THINKING_OFF_REFUSES),
    "qwen3_instruct_2507": (CHATML, NO_REASONING),
    "qwen3_vl": (CHATML, NO_REASONING),
    "smolvlm": (Manual("<end_of_utterance>", parts=True), TEXT_ONLY),
}
# Templates that cannot be used for training without template arguments or changes.
REFUSED = {
    "deepseek_r1_distill": r"generation prompt ends with '<think>\\n'",
    "deepseekv3": r"generation prompt ends with '<think>\\n'",
    "gptoss": "current date",
    "llama3_2": "current date.*date_string",
    "muse_glimmer": "current date.*current_date",
}
# The same templates with other template arguments.
WITH_KWARGS: dict[str, tuple[str, Manual, set[str]]] = {
    f"{name}, thinking": (
        name,
        Manual(m.stop_text, m.stop_call, appended=m.appended, kwargs={"enable_thinking": True}),
        set(),
    )
    for name, (m, _) in READ.items()
    if name in ("glm4moe", "qwen3", "qwen3_5_think", "qwen3_6", "qwen3_8")
} | {
    "llama3_2, dated": (
        "llama3_2",
        Manual("<|eot_id|>", "<|eot_id|>", kwargs={"date_string": "26 Jul 2024"}),
        ONE_CALL,
    ),
    "muse_glimmer, dated": (
        "muse_glimmer",
        Manual("<|eot|>", "<|eot|>", kwargs={"current_date": "2026-01-01"}),
        {"content with"},
    ),
}
CASES = {name: (name, *read) for name, read in READ.items()} | WITH_KWARGS


def source(name: str) -> str:
    return own_template() if name == "own" else stock_template(name)


def test_no_stock_template_is_left_out() -> None:
    stock = {path.stem for path in template_folder().glob("*.jinja") if not path.stem.endswith("_training")}
    assert stock == (set(READ) - {"own"}) | set(REFUSED)


@pytest.mark.parametrize("kind", TOKENIZER_KINDS)
@pytest.mark.parametrize("case", CASES)
def test_spans_equal_the_reference_or_the_refusal_is_known(case: str, kind: str) -> None:
    name, manual, cannot = CASES[case]
    tokenizer = tokenizer_for(source(name), kind)
    kwargs = manual.kwargs if case in WITH_KWARGS else None
    encoder = ChatEncoder(tokenizer, template_kwargs=kwargs)
    proven = 0
    for session in SAMPLES:
        (encoded,) = encoder.encode_batch([session])
        if isinstance(encoded, EncodedSession):
            assert_equals_reference(tokenizer, encoded, session, manual)
            proven += 1
        else:
            assert any(word in str(encoded) for word in cannot), str(encoded)
            assert session.session_id in str(encoded)
    assert proven >= 3


def assert_equals_reference(tokenizer: Any, encoded: EncodedSession, session: Session, manual: Manual) -> None:
    trained = [
        turn
        for turn, message in enumerate(session.messages)
        if message["role"] == "assistant" and message.get("train") is not False
    ]
    assert sorted(span.turn for row in encoded.rows for span in row.spans) == trained
    for row in encoded.rows:
        for span in row.spans:
            prompt, target = reference(tokenizer, session.messages, session.tools, span.turn, manual)
            assert row.input_ids[: span.start] == prompt
            ids = row.input_ids[span.start : span.end]
            assert decoded_after(tokenizer, prompt, ids) == target
            stop = manual.stop_call if session.messages[span.turn].get("tool_calls") else manual.stop_text
            assert ids[-1] == tokenizer.convert_tokens_to_ids(stop)
        inside = {i for span in row.spans for i in range(span.start, span.end)}
        labels = [token if i in inside else IGNORE_INDEX for i, token in enumerate(row.input_ids)]
        assert row.labels() == labels


def decoded_after(tokenizer: Any, prompt: list[int], ids: list[int]) -> str:
    """Return the text that the tokens add to the prompt's text."""
    text = tokenizer.decode(prompt + ids, skip_special_tokens=False)
    return str(text)[len(tokenizer.decode(prompt, skip_special_tokens=False)) :]


@pytest.mark.parametrize("name", REFUSED)
def test_a_template_that_cannot_be_trained_is_refused_with_the_reason(name: str) -> None:
    encoder = ChatEncoder(tokenizer_for(source(name)))
    with pytest.raises(TemplateError, match=REFUSED[name]):
        encoder.encode(SAMPLES[0].messages, (), session_id="s")


@pytest.mark.parametrize("case", CASES)
def test_a_span_moved_by_one_token_is_never_proven(case: str) -> None:
    name, manual, _ = CASES[case]
    kwargs = manual.kwargs if case in WITH_KWARGS else None
    encoder = ChatEncoder(tokenizer_for(source(name), "byte_level"), template_kwargs=kwargs)
    prover, reader = encoder._prover, encoder._reader
    moved = 0
    for session in SAMPLES:
        try:
            turns = reader.read(session.messages, session.tools)
        except TemplateError:
            continue
        for turn in turns:
            (row,) = prover.batch([turn.whole])
            span = prover.prove(turn, row)
            if span is None:
                continue
            for wrong in (
                Span(span.turn, span.start + 1, span.end),
                Span(span.turn, span.start - 1, span.end),
                Span(span.turn, span.start, span.end + 1),
                Span(span.turn, span.start, span.end - 1),
                Span(span.turn, span.start + 1, span.end + 1),
                Span(span.turn, span.start - 1, span.end - 1),
            ):
                assert not prover.is_proven(turn, wrong, row, prover.anchor(turn))
                moved += 1
    assert moved >= 30
